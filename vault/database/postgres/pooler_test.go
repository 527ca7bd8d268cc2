package postgres

import (
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/Miosa-osa/miosa-env/internal/needs"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/database"
)

// A vault works through a pooler that gives each of its connections one of the server's.
func TestPooler(t *testing.T) {
	needs.Command(t, "pgbouncer")
	directly := postgrestest.Start(t)
	server, err := url.Parse(directly)
	if err != nil {
		t.Fatal(err)
	}
	schema := server.Query().Get("search_path")
	dir, err := os.MkdirTemp("/tmp", "pgbouncer-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	config := filepath.Join(dir, "pgbouncer.ini")
	err = os.WriteFile(config, fmt.Appendf(nil, `[databases]
vault = host=%s port=%s dbname=postgres user=vault connect_query='SET search_path = %s'
[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = %s
auth_type = any
pool_mode = session
ignore_startup_parameters = statement_timeout,lock_timeout,idle_in_transaction_session_timeout
server_reset_query =
`, server.Query().Get("host"), server.Query().Get("port"), schema, dir), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), "pgbouncer", config)
	if os.Getuid() == 0 { // which it refuses to run as
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	poll.Until(t, time.Minute, "the pooler listens", func() bool {
		conn, err := dialer.Dial("unix", filepath.Join(dir, ".s.PGSQL.6432"))
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	through := "postgres://?" + url.Values{"host": {dir}, "port": {"6432"}, "user": {"vault"}, "database": {"vault"}}.Encode()
	d, other := openDB(t, through), openDB(t, directly)
	here, there := listen(t, d), listen(t, other)
	announce(t, other, "from the other", nil)
	announce(t, d, "from here", nil)
	here.hears(t, "from the other", "from here")
	there.hears(t, "from the other", "from here")
	here.lives(t)
	for range 20 {
		err := d.Read(t.Context(), func(tx database.Tx) error {
			var n int64
			return tx.QueryRow("SELECT at + $1 FROM heartbeat", 1).Scan(&n)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}
