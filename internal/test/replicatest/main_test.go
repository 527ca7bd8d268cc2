package replicatest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/test/testmain"
)

// folder is where the vault's program is built.
var folder string

func TestMain(m *testing.M) { os.Exit(testmain.WithFolder(&folder, m.Run)) }

// build builds miosa-vault, once for all tests, and returns its path.
var build = sync.OnceValues(func() (string, error) {
	path := filepath.Join(folder, "miosa-vault")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "../../../cmd/miosa-vault").CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return path, nil
})
