package secrets_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// exampleVault is a vault for one example, running from startVault until stop. It has the OAuth provider "acme",
// where users always consent.
type exampleVault struct {
	*vaulttest.Server
	tb *exampleTB
}

func startVault() exampleVault {
	s := &exampleTB{}
	return exampleVault{vaulttest.Start(s, newProvider(s).at(s)), s}
}

func (v exampleVault) stop() {
	for _, f := range slices.Backward(v.tb.cleanups) {
		f()
	}
}

// exampleTB is the testing.TB of an example.
type exampleTB struct {
	testing.TB
	cleanups []func()
}

func (*exampleTB) Helper()                           {}
func (*exampleTB) Context() context.Context          { return context.Background() }
func (s *exampleTB) Cleanup(f func())                { s.cleanups = append(s.cleanups, f) }
func (*exampleTB) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (*exampleTB) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (*exampleTB) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }

func (s *exampleTB) TempDir() string {
	dir, err := os.MkdirTemp("", "secrets-example-")
	if err != nil {
		panic(err)
	}
	s.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
