package egresstest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/test/testmain"
)

// folder has the programs, each built once.
var folder string

func TestMain(m *testing.M) { os.Exit(testmain.WithFolder(&folder, m.Run)) }

// build builds the three programs and the client.
func build(t testing.TB) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", folder+"/", "./cmd/miosa-env", "./cmd/miosa-vault", "./cmd/miosa-egress", "./internal/test/egresstest/client")
	c.Dir = filepath.Join("..", "..", "..")
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatal(fmt.Errorf("go build: %w\n%s", err, out))
	}
}

func program(name string) string { return filepath.Join(folder, name) }
