package powertest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/testmain"
)

// folder is where the programs are built.
var folder string

func TestMain(m *testing.M) { os.Exit(testmain.WithFolder(&folder, m.Run)) }

var build = sync.OnceValue(func() error {
	c := exec.Command("go", "build", "-buildvcs=false", "-o", folder+"/", "../../../cmd/miosa-vault", "../../../cmd/miosa-env")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
})

// program returns the path of miosa-vault or miosa-env.
func program(t *testing.T, name string) string {
	t.Helper()
	if err := build(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(folder, name)
}

// replays is how many replays all tests do together.
func replays(t *testing.T) int {
	t.Helper()
	usual := 200
	if testing.Short() {
		usual = 40
	}
	return needs.Number(t, "MIOSA_POWER_REPLAYS", usual)
}
