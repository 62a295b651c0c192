# What a developer runs by hand. What must hold before a change is merged is .ci/run.

FUZZTIME ?= 1m
FUZZ ?= .
SOAKTIME ?= 10m
USERS ?= 1000

CHECKS ?= 5000
VERSION ?= v0.1.0

.PHONY: ci test fuzz soak attack streams release-check

ci:
	.ci/run

test:
	go test ./...

# Runs every fuzz target of every module, one after another: go test takes one target at a time. FUZZ is a regular
# expression that picks some, such as FUZZ=internal/record. It goes on after a finding and fails at the end; the
# input that was found lies in the package's testdata/fuzz. By default go test spends up to a minute of a worker's time on
# making each new input smaller, which is most of a run on a machine of two cores.
fuzz:
	@failed=; \
	targets=$$(git ls-files --cached --others --exclude-standard '*_test.go' | sort -u | xargs grep -Hos '^func Fuzz[A-Za-z0-9_]*' | sed 's/:func /:/' | grep -E '$(FUZZ)'); \
	for target in $$targets; do \
		dir=$$(dirname "$${target%%:*}"); name=$${target##*:}; \
		echo "== $$dir $$name"; \
		(cd "$$dir" && GOWORK=off go test -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 1s -timeout 0 .) || failed="$$failed $$dir:$$name"; \
	done; \
	if [ -n "$$failed" ]; then echo "failed:$$failed" >&2; exit 1; fi

# As many random histories and linearizability runs, and every crash point both before and after its command.
attack:
	cd attack && REDSESSION_ATTACK_THOROUGH=true go test -count=1 -timeout 0 -v -rapid.checks=$(CHECKS) .

# What an idle stream costs, with 10,000 of them.
streams:
	REDSESSION_STREAMS=10000 go test -count=1 -run StreamsWait -v ./suite/streams

# Mixed load at full speed under the race detector; see benchmarks/soak.
soak:
	cd benchmarks && go run -race ./soak -for $(SOAKTIME) -users $(USERS)

# Releases the last commit as VERSION in a folder that is thrown away; docs/releasing.md.
release-check:
	go run ./internal/release check $(VERSION)
