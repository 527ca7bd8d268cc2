// Package scripts runs tests that are scripts, and redacts keys in the environment and output that a failing script prints.
package scripts

import (
	"fmt"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/Miosa-osa/miosa-env/api"
)

// Run is testscript.Run with redacted keys.
func Run(t *testing.T, p testscript.Params) {
	t.Helper()
	if deadline, ok := t.Deadline(); ok && p.Deadline.IsZero() {
		p.Deadline = deadline
	}
	testscript.RunT(quiet{t}, p)
}

// quiet is a testscript.T that redacts keys, and a testing.TB for Setup.
type quiet struct{ *testing.T }

func (q quiet) Run(name string, f func(testscript.T)) {
	q.T.Run(name, func(t *testing.T) { f(quiet{t}) })
}

func (quiet) Verbose() bool { return testing.Verbose() }

func (q quiet) Log(args ...any) {
	q.Helper()
	q.T.Log(api.RedactKeys(fmt.Sprint(args...)))
}

func (q quiet) Fatal(args ...any) {
	q.Helper()
	q.T.Fatal(api.RedactKeys(fmt.Sprint(args...)))
}
