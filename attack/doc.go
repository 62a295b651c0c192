// Package attack holds tests that try to break the promises of redsession. It exports nothing.
//
// TestRandomHistories plays what several browsers and administrators do at once on two servers and one Redis, which is
// now and then cut off, slow or killed, and asks whether the small sequential model in model_test.go explains every
// answer. TestOneKeyIsLinearizable does the same for one key, with lost requests and replies. Both play a hundred
// histories; RAPID_CHECKS=5000 or -rapid.checks=5000 plays more. A history that fails is kept under testdata/rapid, from
// where each later run plays it first; commit the file. Goroutines never meet twice in the same way, so that a failure
// may need several runs to come again.
//
// TestAKilledProcessLeavesNothingHalfDone performs each operation in a process of its own, which gets a SIGKILL before
// each of its Redis commands in turn, and after the last, and then looks at what is left.
// REDSESSION_ATTACK_THOROUGH=true kills it after each of the others too.
package attack
