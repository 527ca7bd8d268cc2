package postgrestest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// patience is far longer than a start or a stop takes.
const patience = time.Minute

// Server is a server of its own. It doesn't wait for the disk (fsync=off): what it has written survives its processes, and
// not the machine. It is used by one goroutine.
type Server struct {
	dir      string
	port     int // on 127.0.0.1
	password string
	settings []string
	as       *syscall.Credential
	cmd      *exec.Cmd
	ended    chan struct{} // closed when the process has ended; nil: there was none
	paused   []int         // processes
}

// New starts a server with settings, such as wal_writer_delay=1s, which also listens on loopback. It ends with the test.
func New(t testing.TB, settings ...string) *Server {
	t.Helper()
	need(t)
	s, err := start(settings...)
	return s.owned(t, err)
}

// Standby starts a standby of a running server. The server's commits wait from then on until the standby has them, unless they
// have another synchronous_commit.
func (s *Server) Standby(t testing.TB) *Server {
	t.Helper()
	c, err := s.standby()
	return c.owned(t, err)
}

func (s *Server) owned(t testing.TB, err error) *Server {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the end of the log of the server at %s:\n%s", s.Addr(), s.log())
		}
		s.stop()
	})
	return s
}

// LogFile is the path of the server's log.
func (s *Server) LogFile() string { return filepath.Join(s.dir, "log") }

// TLS makes the server accept TLS with a certificate and its key, in files.
func (s *Server) TLS(ctx context.Context, certFile, keyFile string) error {
	for name, file := range map[string]string{"server.crt": certFile, "server.key": keyFile} {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		path := filepath.Join(s.data(), name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return err
		}
		if s.as != nil {
			if err := os.Chown(path, int(s.as.Uid), int(s.as.Gid)); err != nil {
				return err
			}
		}
	}
	for _, statement := range []string{"ALTER SYSTEM SET ssl = on", "SELECT pg_reload_conf()"} {
		if err := s.Exec(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}

// Folder returns a new folder in another one, which servers can write to.
func Folder(t testing.TB, in string) string {
	t.Helper()
	as, err := account()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(in, "postgres-")
	if err == nil && as != nil {
		err = os.Chown(dir, int(as.Uid), int(as.Gid))
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// Addr is host and port of the server.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL is the URL of the server's schema public, as it is reached at addresses, which are tried in this order.
func (s *Server) URL(addresses ...string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword("vault", s.password), Host: strings.Join(addresses, ","), Path: "/postgres",
		RawQuery: "sslmode=disable"}
	return u.String()
}

// url returns the URL of a schema, at the socket, which needs no password.
func (s *Server) url(schema string) string {
	q := url.Values{"host": {s.dir}, "port": {strconv.Itoa(s.port)}, "user": {"vault"}, "database": {"postgres"}, "search_path": {schema}}
	return "postgres://?" + q.Encode()
}

// Exec runs a statement.
func (s *Server) Exec(ctx context.Context, statement string) error {
	return s.on(func(db *sql.DB) error { _, err := db.ExecContext(ctx, statement); return err })
}

// Text returns the result of a query of one row and one column.
func (s *Server) Text(ctx context.Context, query string) (text string, err error) {
	err = s.on(func(db *sql.DB) error { return db.QueryRowContext(ctx, query).Scan(&text) })
	return text, err
}

func (s *Server) on(do func(*sql.DB) error) error {
	db, err := sql.Open("pgx", s.url("public"))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	return do(db)
}

// newServer makes the folder of a server.
func newServer(settings []string) (*Server, error) {
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
	free, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it ends at once
	if err != nil {
		return nil, err
	}
	port := free.Addr().(*net.TCPAddr).Port
	return &Server{dir: dir, port: port, password: rand.Text(), settings: settings, as: as}, free.Close()
}

// start starts a new server.
func start(settings ...string) (*Server, error) {
	s, err := newServer(settings)
	if err != nil {
		return nil, err
	}
	// Not by a statement, which others would see in pg_stat_activity.
	password := filepath.Join(s.dir, "password")
	if err := s.write(password, s.password); err != nil {
		s.stop()
		return nil, err
	}
	initdb := s.program("initdb", "-D", s.data(), "-U", "vault", "--pwfile", password, "--auth-local=trust", "--auth-host=scram-sha-256", "-E", "UTF8", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		s.stop()
		return nil, fmt.Errorf("initdb: %w\n%s", err, out)
	}
	if err := s.Start(); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// write writes a file that only the server's user can read.
func (s *Server) write(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil || s.as == nil {
		return err
	}
	return os.Chown(path, int(s.as.Uid), int(s.as.Gid))
}

// standby starts a copy of the server, and waits until commits wait for it.
func (s *Server) standby() (*Server, error) {
	c, err := newServer(append(slices.Clone(s.settings), "wal_retrieve_retry_interval=100ms")) // connect again soon
	if err != nil {
		return nil, err
	}
	c.password = s.password // the copy has the same users
	backup := c.program("pg_basebackup", "-h", s.dir, "-p", strconv.Itoa(s.port), "-U", "vault", "-D", c.data(), "-R", "-X", "stream", "--checkpoint=fast", "--no-sync")
	if out, err := backup.CombinedOutput(); err != nil {
		c.stop()
		return nil, fmt.Errorf("pg_basebackup: %w\n%s", err, out)
	}
	ctx := context.Background()
	err = c.Start()
	for _, statement := range []string{"ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()"} {
		if err == nil {
			err = s.Exec(ctx, statement)
		}
	}
	if err == nil {
		err = s.Synced(ctx)
	}
	if err != nil {
		c.stop()
		return nil, err
	}
	return c, nil
}

// Synced waits until a standby has all that the server has committed, and commits wait for it.
func (s *Server) Synced(ctx context.Context) error {
	var state string
	var err error
	if !poll.Within(patience, func() bool {
		state, err = s.Text(ctx, `SELECT COALESCE(MAX(state || ' ' || sync_state || ' ' || (flush_lsn = pg_current_wal_flush_lsn())), 'none') FROM pg_stat_replication`)
		return err == nil && state == "streaming sync true"
	}) {
		return errors.Join(err, fmt.Errorf("the standby is %s", state))
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// log returns the last lines of the server's log.
func (s *Server) log() string {
	text, err := os.ReadFile(s.LogFile())
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-30):], "\n")
}

func (s *Server) program(name string, args ...string) *exec.Cmd {
	c := exec.Command(filepath.Join(programs(), name), args...) //nolint:noctx // it ends with the last test
	c.Dir, c.Env = s.dir, append(os.Environ(), "LC_ALL=C.UTF-8")
	c.SysProcAttr = &syscall.SysProcAttr{Credential: s.as, Setpgid: true}
	return c
}

// Start starts the server, unless it runs, and waits until it accepts connections. While processes of a killed one are left, it
// ends at once: then it is started again.
func (s *Server) Start() (err error) {
	if !poll.Within(patience, func() bool {
		if s.running() || s.launch() == nil {
			err = s.Exec(context.Background(), "SELECT 1")
		}
		return err == nil
	}) {
		return fmt.Errorf("postgres: %w\n%s", err, s.log())
	}
	return nil
}

// running reports whether the server runs.
func (s *Server) running() bool {
	if s.ended == nil {
		return false
	}
	select {
	case <-s.ended:
		return false
	default:
		return true
	}
}

// launch starts the server without waiting.
func (s *Server) launch() error {
	log, err := os.OpenFile(s.LogFile(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = log.Close() }()
	args := []string{"-D", s.data(), "-k", s.dir, "-p", strconv.Itoa(s.port), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "max_connections=400"}
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	cmd := s.program("postgres", args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	go func() { _ = cmd.Wait(); close(ended) }()
	s.cmd, s.ended = cmd, ended
	return nil
}

// Kill kills all processes of the server at once.
func (s *Server) Kill() error {
	if !s.running() {
		return nil
	}
	all, err := s.stopped()
	if err != nil {
		return err
	}
	for _, pid := range all {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	<-s.ended
	return nil
}

// Quit makes the server shut down immediately: its processes end without writing anything more.
func (s *Server) Quit() error {
	if err := s.cmd.Process.Signal(syscall.SIGQUIT); err != nil {
		return err
	}
	<-s.ended
	return nil
}

// Pause stops all processes of the server until Resume.
func (s *Server) Pause() (err error) {
	s.paused, err = s.stopped()
	return err
}

// Resume ends Pause.
func (s *Server) Resume() {
	for _, pid := range s.paused {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	s.paused = nil
}

// stopped stops the processes of the server with SIGSTOP, and returns their ids. The first one is the parent of the others, and
// is stopped first, so that there are no more.
func (s *Server) stopped() ([]int, error) {
	pid := s.cmd.Process.Pid
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return nil, err
	}
	all := []int{pid}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return all, err
	}
	for _, field := range strings.Fields(string(text)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			return all, err
		}
		_ = syscall.Kill(child, syscall.SIGSTOP)
		all = append(all, child)
	}
	return all, nil
}

// Promote makes a standby a primary server.
func (s *Server) Promote(ctx context.Context) error {
	return s.Exec(ctx, "SELECT pg_promote()")
}

// stop ends the server and removes its files.
func (s *Server) stop() {
	if s.running() {
		s.Resume()
		_ = s.cmd.Process.Signal(syscall.SIGINT) // a fast shutdown
		<-s.ended
	}
	_ = os.RemoveAll(s.dir)
}
