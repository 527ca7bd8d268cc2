// Package postgrestest runs a PostgreSQL server for tests, from Debian's packages, in a folder of its own.
package postgrestest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver pgx

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// server is a running server.
type server struct {
	dir string
	cmd *exec.Cmd
}

var shared struct {
	sync.Mutex
	server  *server
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
	needs.Command(t, "pg_ctlcluster")
	if programs() == "" {
		needs.System(t, "a PostgreSQL server, which Debian's package postgresql has")
	}
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = start()
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	shared.schemas++
	name := "test_" + strconv.Itoa(shared.schemas)
	if err := shared.server.exec(t.Context(), "CREATE SCHEMA "+name); err != nil {
		t.Fatal(err)
	}
	return shared.server.url(name)
}

// Stop stops the server, if there is one.
func Stop() {
	shared.Lock()
	defer shared.Unlock()
	if shared.server != nil {
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

func start(settings ...string) (*server, error) {
	as, err := account()
	if err != nil {
		return nil, err
	}
	// A socket's path may have 107 bytes.
	dir, err := os.MkdirTemp("/tmp", "postgres-")
	if err != nil {
		return nil, err
	}
	if as != nil {
		if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
			return nil, err
		}
	}
	s := &server{dir: dir}
	run := func(name string, args ...string) *exec.Cmd {
		c := exec.Command(filepath.Join(programs(), name), args...) //nolint:noctx // it ends with the last test
		c.Dir, c.Env = dir, append(os.Environ(), "LC_ALL=C.UTF-8")
		c.SysProcAttr = &syscall.SysProcAttr{Credential: as, Setpgid: true}
		return c
	}
	data := filepath.Join(dir, "data")
	if out, err := run("initdb", "-D", data, "-U", "vault", "-A", "trust", "-E", "UTF8", "--no-sync").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	var log bytes.Buffer
	args := []string{"-D", data, "-k", dir, "-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=400"}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	s.cmd = run("postgres", args...)
	s.cmd.Stdout, s.cmd.Stderr = &log, &log
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	if !poll.Within(time.Minute, func() bool { err = s.exec(context.Background(), "SELECT 1"); return err == nil }) {
		s.stop()
		return nil, fmt.Errorf("postgres: %w\n%s", err, log.String())
	}
	return s, nil
}

// url returns the URL of a schema.
func (s *server) url(schema string) string {
	q := url.Values{"host": {s.dir}, "user": {"vault"}, "database": {"postgres"}, "search_path": {schema}}
	return "postgres://?" + q.Encode()
}

func (s *server) exec(ctx context.Context, statement string) error {
	db, err := sql.Open("pgx", s.url("public"))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	_, err = db.ExecContext(ctx, statement)
	return err
}

func (s *server) stop() {
	_ = s.cmd.Process.Signal(syscall.SIGINT) // a fast shutdown
	_ = s.cmd.Wait()
	_ = os.RemoveAll(s.dir)
}
