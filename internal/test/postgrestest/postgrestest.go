// Package postgrestest runs a PostgreSQL server for tests, from Debian's packages, in a folder of its own.
package postgrestest

import (
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx

	"github.com/Miosa-osa/miosa-env/internal/needs"
)

var shared struct {
	sync.Mutex
	server  *Server
	err     error
	schemas int
}

// programs returns the folder of the server's programs; "" if it isn't installed.
func programs() string {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if len(found) == 0 {
		return ""
	}
	return filepath.Dir(found[len(found)-1])
}

// Start returns the URL of an empty schema in a running server. The process's TestMain must call Stop. Without PostgreSQL the
// test is skipped.
func Start(t testing.TB) string {
	t.Helper()
	need(t)
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		if Chosen() {
			shared.server, shared.err = ofParent()
		} else {
			shared.server, shared.err = start()
		}
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	shared.schemas++
	name := fmt.Sprintf("test_%d_%d", os.Getpid(), shared.schemas)
	if err := shared.server.Exec(t.Context(), "CREATE SCHEMA "+name); err != nil {
		t.Fatal(err)
	}
	return shared.server.url(name)
}

// Schema creates a schema in the server of a URL of Run, and returns its URL.
func Schema(t testing.TB, server string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	name := "test_" + strings.ToLower(rand.Text())
	db, err := sql.Open("pgx", server)
	if err == nil {
		_, err = db.ExecContext(t.Context(), "CREATE SCHEMA "+name)
		err = errors.Join(err, db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", name)
	return "postgres://?" + q.Encode() // as Run's: it has no host before the query
}

// need skips the test without PostgreSQL.
func need(t testing.TB) {
	t.Helper()
	needs.Command(t, "pg_ctlcluster")
	if programs() == "" {
		needs.System(t, "a PostgreSQL server, which Debian's package postgresql has")
	}
}

// Stop stops the server, if there is one.
func Stop() {
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil && !Chosen() {
		shared.server.stop()
		shared.server = nil
	}
}

// account returns the user that the server runs as; nil: this process's. It refuses to run as root.
func account() (*syscall.Credential, error) {
	if os.Getuid() != 0 {
		return nil, nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, err
}

// Run starts a server with settings, such as fsync=on, for a program that isn't a test. It returns the URL of the server's schema
// public. The caller calls stop.
func Run(settings ...string) (url string, stop func(), err error) {
	if programs() == "" {
		return "", nil, errors.New("no PostgreSQL server is installed: Debian's package postgresql has one")
	}
	s, err := start(settings...)
	if err != nil {
		return "", nil, err
	}
	return s.url("public"), s.stop, nil
}
