package attack_test

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// searchFor is how long an order is searched for. A history that takes longer is undecided: that says nothing but how fast
// the machine is.
const searchFor = 10 * time.Second

// judge asks whether an order of all steps explains the history. If none does, why tells how far the longest one comes,
// and which steps do not fit after it.
func (p *play) judge() (verdict porcupine.CheckResult, why string) {
	ops := p.telling()
	verdict, info := porcupine.CheckOperationsVerbose(sessions, ops, searchFor)
	if verdict != porcupine.Illegal {
		return verdict, ""
	}
	var longest []int
	for _, order := range info.PartialLinearizations()[0] {
		if len(order) > len(longest) {
			longest = order
		}
	}
	left := slices.Clone(ops)
	for _, i := range longest {
		left[i].Call = math.MaxInt64
	}
	next := int64(math.MaxInt64)
	for _, op := range left {
		if op.Call != math.MaxInt64 {
			next = min(next, op.Return)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d of %d steps fit, and after them none of\n", len(longest), len(ops))
	for _, op := range left {
		if op.Call <= next && op.Call != math.MaxInt64 {
			tellStep(&b, op)
		}
	}
	return verdict, b.String()
}

// telling leaves out the steps that explain nothing, as they make the search long: those of requests that neither had nor
// got a session, and those with an unknown outcome that changed nothing, or whose tag nobody saw.
func (p *play) telling() []porcupine.Operation {
	var seen strings.Builder
	for _, op := range p.ops {
		if out, _ := op.Output.(*outcomeOf); out != nil && op.Input.(event).what == "load" {
			seen.WriteString(out.view)
		}
	}
	nothing := sessions.Init()
	return p.together(slices.DeleteFunc(besides(p.ops), func(op porcupine.Operation) bool {
		in := op.Input.(event)
		if in.what != "load" && in.what != "commit" {
			return false
		}
		if in.cookie == "" && in.served == "" { // what becomes of it depends on nobody else
			possible, next := sessions.Step(nothing, in, op.Output)
			return possible && sessions.Equal(next, nothing)
		}
		if out, _ := op.Output.(*outcomeOf); out != nil || in.what != "commit" {
			return false
		}
		return in.kind == "read" || in.kind == "rotate" || (in.kind == "set" || in.kind == "add") && !strings.Contains(seen.String(), in.tag)
	}))
}

// together makes one step of all ends of one revocation of logins that no request beside it has to do with: nobody sees in
// which order they end.
func (p *play) together(ops []porcupine.Operation) (fewer []porcupine.Operation) {
	first := map[[2]int64]int{}
	for _, op := range ops {
		in, at := op.Input.(event), [2]int64{op.Call, op.Return}
		if in.what == "end" && op.Return != math.MaxInt64 && !p.busy(ops, op) {
			if i, there := first[at]; there {
				one := fewer[i].Input.(event)
				one.logins = append(slices.Clip(one.logins), in.logins...)
				fewer[i].Input = one
				continue
			}
			first[at] = len(fewer)
		}
		fewer = append(fewer, op)
	}
	return fewer
}

// busy tells whether a step beside end names a session of the login that it ends, or one of the same browser's, from which
// a login may go on.
func (p *play) busy(ops []porcupine.Operation, end porcupine.Operation) bool {
	ended := p.logins[end.Input.(event).logins[0]]
	return slices.ContainsFunc(ops, func(op porcupine.Operation) bool {
		in := op.Input.(event)
		names := p.logins[in.cookie].family == ended.family || p.logins[in.served].family == ended.family
		return names && op.Call <= end.Return && end.Call <= op.Return
	})
}

// besides returns ops with what each login has beside it. In Redis a login is two steps, its entry in the index and the
// end of the session that it began from, and of two logins each may be first at one of them.
func besides(ops []porcupine.Operation) []porcupine.Operation {
	ops = slices.Clone(ops)
	for i, op := range ops {
		in := op.Input.(event)
		for j, other := range ops {
			if in.entering() && other.Input.(event).entering() && i != j && op.Call <= other.Return && other.Call <= op.Return {
				in.beside++
			}
		}
		ops[i].Input = in
	}
	return ops
}

// String tells the history in microseconds, as briefly as can be: logs are cut.
func (p *play) String() string {
	var b strings.Builder
	for _, op := range p.ops {
		tellStep(&b, op)
	}
	return b.String()
}

func tellStep(b *strings.Builder, op porcupine.Operation) {
	until := "…"
	if op.Return != math.MaxInt64 {
		until = strconv.FormatInt(op.Return/1000, 10)
	}
	fmt.Fprintf(b, "%d-%s %s\n", op.Call/1000, until, describeStep(op.Input, op.Output))
}

func describeStep(input, output any) string {
	if out, _ := output.(*outcomeOf); out != nil {
		return input.(event).String() + " → " + out.String()
	}
	return input.(event).String() + " → ?"
}

// String leaves out what is zero, and shows the first four characters of ids.
func (e event) String() string {
	s := fmt.Sprintf("%d %s %s", e.round, e.what, e.kind)
	for _, a := range [...]struct{ name, value string }{{"cookie", short(e.cookie)}, {"served", short(e.served)}, {"by", e.user}, {"", e.tag}} {
		if a.value != "" {
			s += " " + a.name + " " + a.value
		}
	}
	for _, login := range e.logins {
		s += " " + short(login)
	}
	if e.entering() || e.what == "mark" {
		s += fmt.Sprintf(" loaded %d-%d left %d-%d", e.loaded.from%1e6, e.loaded.to%1e6, e.left.from%1e6, e.left.to%1e6)
	}
	if e.beside != 0 {
		s += fmt.Sprintf(" beside %d", e.beside)
	}
	return s + fmt.Sprintf(" at %d", e.now%1e6)
}

func (o *outcomeOf) String() string {
	s := fmt.Sprintf("%d %q", o.status, o.view)
	if o.issued != "" {
		s += " issued " + short(o.issued)
	}
	if o.evicted != 0 {
		s += fmt.Sprintf(" evicted %d", o.evicted)
	}
	return s
}

func short(id string) string { return id[:min(4, len(id))] }
