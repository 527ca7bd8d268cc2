package replicatest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
)

// The model describes one sandbox, which has up to two secrets, each under a variable of its own, and keys. A history of calls
// about it is linearizable if they can be put into an order, each between its start and its end, in which every result is
// the one that the model gives.

// variables are the names of the sandbox's variables, and of its secrets.
var variables = [2]string{"A", "B"}

// unknown is the id of a secret or binding that a call has created whose answer was lost.
const unknown = "?"

// secretState is the state of the secret of one variable.
type secretState struct {
	id      string // "": there is none
	version int64
	value   string
	binding string // id; "": not bound
}

// sandboxState is the state of a sandbox.
type sandboxState struct {
	secrets [2]secretState
	revoked uint64 // bit i: key i
}

type action string

// The calls.
const (
	setSecret    action = "set" // and bind
	rotateSecret action = "rotate"
	deleteSecret action = "delete"
	getSecret    action = "get"
	bindSecret   action = "bind"
	unbindSecret action = "unbind"
	revokeKey    action = "revoke"
	revealSet    action = "reveal" // also a wait that ended with a set, or with none but the known one
)

// input is a call.
type input struct {
	action   action
	variable int    // of set, rotate, delete, get, bind, unbind
	id       string // of the secret; of the binding, for unbind
	value    string // of set, rotate
	key      int    // of revoke, reveal
}

// result says how a call ended.
type result int

// The results.
const (
	succeeded result = iota
	notFound
	refused // 401
	lost    // not known: it may have an effect at any time after its start, or none
)

// output is the result of a call.
type output struct {
	result  result
	again   bool           // the client has sent the call more than once
	secret  secretState    // of set, rotate, get and bind, as far as the answer says; of rotate and get without a binding
	secrets [2]secretState // of reveal: those that are bound
}

// is reports whether a state's id may be the given one.
func is(state, id string) bool { return state == id || state == unknown && id != "" }

// step returns the states that may follow a state after a call with this result; none: the result is impossible.
func step(s sandboxState, in input, out output) []sandboxState {
	same, secret := []sandboxState{s}, &s.secrets[in.variable]
	if out.result == refused {
		return when(in.action == revealSet && s.revoked&(1<<in.key) != 0, same)
	}
	switch in.action {
	case setSecret:
		secret.version, secret.value = secret.version+1, in.value
		if out.result == lost {
			secret.id, secret.binding = orUnknown(secret.id), orUnknown(secret.binding)
			return []sandboxState{s}
		}
		possible := (secret.id == "" || is(secret.id, out.secret.id)) && (secret.binding == "" || is(secret.binding, out.secret.binding)) &&
			secret.version == out.secret.version
		secret.id, secret.binding = out.secret.id, out.secret.binding
		return when(possible, []sandboxState{s})
	case revokeKey:
		s.revoked |= 1 << in.key
		return []sandboxState{s}
	case revealSet:
		for i := range s.secrets {
			has, want := &s.secrets[i], out.secrets[i]
			if has.binding == "" || want.binding == "" {
				if has.binding != want.binding {
					return nil
				}
				continue
			}
			if !is(has.id, want.id) || !is(has.binding, want.binding) || has.version != want.version || has.value != want.value {
				return nil
			}
			has.id, has.binding = want.id, want.binding
		}
		return when(s.revoked&(1<<in.key) == 0, []sandboxState{s})
	case unbindSecret:
		return meets(out, secret.binding, in.id, same, func() []sandboxState { secret.binding = ""; return []sandboxState{s} })
	}
	return meets(out, secret.id, in.id, same, func() []sandboxState {
		secret.id = in.id
		switch in.action {
		case rotateSecret:
			secret.version, secret.value = secret.version+1, in.value
			return when(out.result == lost || secret.version == out.secret.version, []sandboxState{s})
		case getSecret:
			return when(secret.version == out.secret.version, []sandboxState{s})
		case deleteSecret:
			*secret = secretState{}
			return []sandboxState{s}
		case bindSecret:
			if out.result == lost {
				secret.binding = orUnknown(secret.binding)
				return []sandboxState{s}
			}
			possible := secret.binding == "" || is(secret.binding, out.secret.binding)
			secret.binding = out.secret.binding
			return when(possible, []sandboxState{s})
		}
		panic(in.action)
	})
}

// meets returns the states after a call that names an id: what do returns, if the state has the id, and the same state if it
// doesn't.
func meets(out output, state, id string, same []sandboxState, do func() []sandboxState) (next []sandboxState) {
	if is(state, id) && out.result != notFound {
		next = do()
	}
	// A client that sends a deletion again takes 404 for success.
	if state != id && (out.result != succeeded || out.again) {
		next = append(next, same...)
	}
	return next
}

func when(possible bool, next []sandboxState) []sandboxState {
	if !possible {
		return nil
	}
	return next
}

func orUnknown(id string) string {
	if id == "" {
		return unknown
	}
	return id
}

// model is step for porcupine.
var model = (&porcupine.NondeterministicModel{
	Init: func() []any { return []any{sandboxState{}} },
	Step: func(state, in, out any) (next []any) {
		for _, s := range step(state.(sandboxState), in.(input), out.(output)) {
			next = append(next, s)
		}
		return next
	},
}).ToModel()

// forever is the end of a call whose effect may come at any time.
const forever = int64(1) << 60

// call is a call in a history.
func call(in input, out output, began, ended int64) porcupine.Operation {
	if out.result == lost {
		ended = forever
	}
	return porcupine.Operation{Input: in, Output: out, Call: began, Return: ended}
}

// check looks for an order of the calls of one sandbox.
func check(history []porcupine.Operation, limit time.Duration) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(model, history, limit)
}

// text is a history for people, in the order of the calls' starts.
func text(history []porcupine.Operation) string {
	slices.SortStableFunc(history, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	var b strings.Builder
	for _, o := range history {
		ended := "never"
		if o.Return != forever {
			ended = time.Duration(o.Return).Round(10 * time.Microsecond).String()
		}
		fmt.Fprintf(&b, "%v to %s: %+v: %+v\n", time.Duration(o.Call).Round(10*time.Microsecond), ended, o.Input, o.Output)
	}
	return b.String()
}

// The model accepts histories that a vault may have, and no other. Each call of a history begins after the one before has ended,
// unless its result was lost.
func TestModel(t *testing.T) {
	type pair struct {
		in  input
		out output
	}
	secret := func(version int64, value string) secretState { return secretState{"s1", version, value, "b1"} }
	set := func(version int64, value string) pair {
		return pair{input{action: setSecret, value: value}, output{secret: secretState{id: "s1", version: version, binding: "b1"}}}
	}
	rotated := func(version int64, value string) pair {
		return pair{input{action: rotateSecret, id: "s1", value: value}, output{secret: secretState{id: "s1", version: version}}}
	}
	reveal := func(s secretState) pair {
		return pair{input{action: revealSet}, output{secrets: [2]secretState{s}}}
	}
	without := func(p pair, r result) pair { p.out = output{result: r}; return p }
	repeated := func(p pair) pair { p.out.again = true; return p }
	of := func(a action, id string) pair { return pair{input{action: a, id: id}, output{}} }
	bind := pair{input{action: bindSecret, id: "s1"}, output{secret: secretState{id: "s1", binding: "b2"}}}
	none := secretState{}
	for _, tt := range []struct {
		name    string
		history []pair
		want    bool
	}{
		{"reads what was written", []pair{set(1, "a"), reveal(secret(1, "a")), rotated(2, "b"), reveal(secret(2, "b"))}, true},
		{"a stale read", []pair{set(1, "a"), rotated(2, "b"), reveal(secret(2, "b")), reveal(secret(1, "a"))}, false},
		{"a stale read at once", []pair{set(1, "a"), rotated(2, "b"), reveal(secret(1, "a"))}, false},
		{"the value of another version", []pair{set(1, "a"), rotated(2, "b"), reveal(secret(2, "a"))}, false},
		{"an acknowledged write is lost", []pair{set(1, "a"), rotated(2, "b"), rotated(2, "c")}, false},
		{"a write twice", []pair{set(1, "a"), rotated(3, "b")}, false},
		{"a lost answer, written", []pair{set(1, "a"), without(rotated(2, "b"), lost), reveal(secret(2, "b"))}, true},
		{"a lost answer, not written", []pair{set(1, "a"), without(rotated(2, "b"), lost), reveal(secret(1, "a"))}, true},
		{"a lost answer, written later", []pair{set(1, "a"), without(rotated(2, "b"), lost), reveal(secret(1, "a")), reveal(secret(2, "b"))}, true},
		{"a lost answer, undone", []pair{set(1, "a"), without(rotated(2, "b"), lost), reveal(secret(2, "b")), reveal(secret(1, "a"))}, false},
		{"a lost answer, twice", []pair{set(1, "a"), without(rotated(2, "b"), lost), reveal(secret(3, "b"))}, false},
		{"created without an answer", []pair{without(set(1, "a"), lost), reveal(secret(1, "a")), of(unbindSecret, "b1"), reveal(none)}, true},
		{"deleted", []pair{set(1, "a"), of(deleteSecret, "s1"), reveal(none), without(rotated(2, "b"), notFound), without(of(getSecret, "s1"), notFound)}, true},
		{"deleted, and revealed", []pair{set(1, "a"), of(deleteSecret, "s1"), reveal(secret(1, "a"))}, false},
		{"deleted, and rotated", []pair{set(1, "a"), of(deleteSecret, "s1"), rotated(2, "b")}, false},
		{"not found, though it is there", []pair{set(1, "a"), without(rotated(2, "b"), notFound)}, false},
		{"deleted twice", []pair{set(1, "a"), of(deleteSecret, "s1"), of(deleteSecret, "s1")}, false},
		{"deleted twice, sent again", []pair{set(1, "a"), of(deleteSecret, "s1"), repeated(of(deleteSecret, "s1"))}, true},
		{"unbound and bound", []pair{set(1, "a"), of(unbindSecret, "b1"), reveal(none), bind, reveal(secretState{"s1", 1, "a", "b2"})}, true},
		{"bound twice", []pair{set(1, "a"), bind}, false},
		{"unbound, and revealed", []pair{set(1, "a"), of(unbindSecret, "b1"), reveal(secret(1, "a"))}, false},
		{"a revoked key", []pair{set(1, "a"), {input{action: revokeKey}, output{}}, without(reveal(none), refused)}, true},
		{"a revoked key that reveals", []pair{set(1, "a"), {input{action: revokeKey}, output{}}, reveal(secret(1, "a"))}, false},
		{"a key that is refused, and reveals", []pair{set(1, "a"), without(pair{in: input{action: revokeKey}}, lost), without(reveal(none), refused), reveal(secret(1, "a"))}, false},
		{"a valid key that is refused", []pair{set(1, "a"), without(reveal(none), refused)}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var history []porcupine.Operation
			for i, p := range tt.history {
				history = append(history, call(p.in, p.out, int64(2*i), int64(2*i+1)))
			}
			if got := check(history, patience); got == porcupine.Unknown || (got == porcupine.Ok) != tt.want {
				t.Errorf("%s:\n%s", got, text(history))
			}
		})
	}
}
