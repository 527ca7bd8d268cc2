package secrets_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"testing"

	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// exampleVault is a vault that an example has to itself, from startVault until stop. It knows the OAuth
// provider "acme", where users agree.
type exampleVault struct {
	*vaulttest.Server
	stage *stage
}

func startVault() exampleVault {
	s := &stage{}
	return exampleVault{vaulttest.Start(s, newProvider(s).at(s)), s}
}

func (v exampleVault) stop() {
	for _, f := range slices.Backward(v.stage.cleanups) {
		f()
	}
}

// stage is to an example what a testing.TB is to a test.
type stage struct {
	testing.TB
	cleanups []func()
}

func (*stage) Helper()                           {}
func (*stage) Context() context.Context          { return context.Background() }
func (s *stage) Cleanup(f func())                { s.cleanups = append(s.cleanups, f) }
func (*stage) Errorf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (*stage) Fatalf(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
func (*stage) Fatal(args ...any)                 { panic(fmt.Sprint(args...)) }

func (s *stage) TempDir() string {
	dir, err := os.MkdirTemp("", "secrets-example-")
	if err != nil {
		panic(err)
	}
	s.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}
