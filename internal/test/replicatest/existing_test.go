package replicatest

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
)

// againEnv names the packages whose tests TestExistingTests runs, separated by spaces, instead of the few that make test has time
// for.
const againEnv = "MIOSA_REPLICA_PACKAGES"

// Tests of other packages, which know nothing of replicas, pass when their vault is three on PostgreSQL behind a proxy.
func TestExistingTests(t *testing.T) {
	needs.Long(t, "it runs tests of other packages again")
	needs.Command(t, "pg_ctlcluster")
	packages := []string{"./vault/vaulttest", "./secrets", "./fetch"}
	args := []string{"test", "-count=1", "-timeout=30m"}
	if given := os.Getenv(againEnv); given != "" {
		packages = strings.Fields(given)
	} else {
		args = append(args, "-short")
	}
	url, stop, err := postgrestest.Run("max_connections=1000") // a vault has ten, a test three vaults, and tests run in parallel
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	c := exec.CommandContext(t.Context(), "go", append(args, packages...)...)
	c.Dir, c.Env, c.WaitDelay = "../../..", append(os.Environ(), "MIOSA_TEST_POSTGRES="+url), 10*time.Second
	if out, err := c.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
