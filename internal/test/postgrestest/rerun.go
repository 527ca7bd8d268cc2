package postgrestest

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/Miosa-osa/miosa-env/internal/needs"
)

// variable is the folder and the port, FOLDER:PORT, of the server on which the tests of a process have their stores.
const variable = "MIOSA_TEST_DATABASE"

// Chosen reports whether Rerun has started this process.
func Chosen() bool { return os.Getenv(variable) != "" }

// Rerun runs the tests of this program again, with -short, and Chosen. The process's TestMain must call Stop.
func Rerun(t *testing.T) {
	t.Helper()
	if Chosen() {
		return
	}
	needs.Long(t, "it runs the tests again")
	c := exec.CommandContext(t.Context(), os.Args[0], "-test.short", "-test.timeout=10m", "-test.count=1")
	Start(t) // or the test is skipped
	c.Env = append(os.Environ(), fmt.Sprintf("%s=%s:%d", variable, shared.server.dir, shared.server.port))
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// ofParent returns the server of the process that called Rerun.
func ofParent() (*Server, error) {
	folder, port, _ := strings.Cut(os.Getenv(variable), ":")
	n, err := strconv.Atoi(port)
	return &Server{dir: folder, port: n}, err
}

// databases has the URLs of Database by folder.
var databases sync.Map

// Database returns the database of the store in a folder: a schema of a server if it is Chosen, or "", SQLite.
func Database(t testing.TB, folder string) string {
	t.Helper()
	at, ok := databases.Load(folder)
	if !ok {
		if !Chosen() {
			return ""
		}
		at, _ = databases.LoadOrStore(folder, Start(t))
	}
	return at.(string)
}

// StoreFolder returns a folder whose Database is on PostgreSQL, for a test that SQLite has no equivalent for. Rerun need not run it again.
func StoreFolder(t testing.TB) string {
	t.Helper()
	SQLiteOnly(t)
	folder := t.TempDir()
	databases.Store(folder, Start(t))
	return folder
}

// SQLiteOnly skips a test that damages the database's files, or has statements in SQLite's dialect.
func SQLiteOnly(t testing.TB) {
	t.Helper()
	needs.Option(t, !Chosen(), variable+"=", "it needs SQLite, or runs on PostgreSQL already")
}
