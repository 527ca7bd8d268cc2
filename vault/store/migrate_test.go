package store

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/audit"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

// downgrade replaces the database in dir by one of schema 2, with the same rows, as a vault from before rows were
// authenticated has left it.
func downgrade(t *testing.T, dir string) {
	t.Helper()
	const migrations = "../database/migrations/"
	path := filepath.Join(dir, "vault.db")
	db, err := sql.Open("sqlite", "file:"+path+".old?_pragma=foreign_keys(off)")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(1)
	run := func(statement string, args ...any) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), statement, args...); err != nil {
			t.Fatalf("%s: %v", statement, err)
		}
	}
	for _, name := range []string{"0001_init.sql", "0002_oauth.sql"} {
		text, err := os.ReadFile(migrations + name)
		if err != nil {
			t.Fatal(err)
		}
		run(string(text))
	}
	run(`CREATE TABLE schema_version (version BIGINT PRIMARY KEY, applied_at BIGINT NOT NULL)`)
	run(`INSERT INTO schema_version VALUES (1, 1), (2, 1)`)
	run(`ATTACH $1 AS newer`, path)
	for _, table := range []string{"tenants", "api_keys", "secrets", "bindings", "oauth_flows", "oauth_grants", "audit"} {
		var columns string
		if err := db.QueryRowContext(t.Context(), `SELECT group_concat(name) FROM pragma_table_info($1)`, table).Scan(&columns); err != nil {
			t.Fatal(err)
		}
		run(`INSERT INTO main.` + table + ` (` + columns + `) SELECT ` + columns + ` FROM newer.` + table)
	}
	var keyID int64
	if err := db.QueryRowContext(t.Context(), `SELECT key_id FROM newer.root_key`).Scan(&keyID); err != nil {
		t.Fatal(err)
	}
	run(`INSERT INTO root_key (id, key_id, probe) VALUES (1, $1, $2)`, keyID, oldProbe(t, dir))
	run(`DETACH newer`)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		_ = os.Remove(path + suffix)
	}
	if err := os.Rename(path+".old", path); err != nil {
		t.Fatal(err)
	}
}

// oldProbe is the probe that an earlier vault stored.
func oldProbe(t *testing.T, dir string) []byte {
	t.Helper()
	const text = "miosa-vault root key"
	line, err := os.ReadFile(filepath.Join(dir, "root.key"))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(strings.TrimSpace(string(line)), "msk_root_"))
	if err != nil {
		t.Fatal(err)
	}
	root, err := insecurecleartextkeyset.Read(keyset.NewBinaryReader(bytes.NewReader(plain)))
	if err != nil {
		t.Fatal(err)
	}
	a, err := aead.New(root)
	if err != nil {
		t.Fatal(err)
	}
	probe, err := a.Encrypt([]byte(text), []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return probe
}

// migrateEnv has the step of the migration at which TestMigrateProcess dies, and the folder of the store.
const migrateEnv = "MIOSA_TEST_MIGRATE"

// TestMigrateProcess is not a test: it is the process that TestMigrationKilledAtEachStep starts.
func TestMigrateProcess(t *testing.T) {
	at, dir, ok := strings.Cut(os.Getenv(migrateEnv), " ")
	if !ok {
		return
	}
	diesAt, err := strconv.Atoi(at)
	if err != nil {
		t.Fatal(err)
	}
	steps := 0
	s, err := Open(context.Background(), Config{
		DataDir: dir, RootKey: keyring.Root{File: filepath.Join(dir, "root.key")}, Log: zerolog.Nop(),
		step: func(string) error {
			if steps++; steps == diesAt {
				_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {} // wait for the signal
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// A database of schema 2 gets its rows authenticated when it is opened, once, also if the process is killed meanwhile.
func TestMigrationKilledAtEachStep(t *testing.T) {
	postgrestest.SQLiteOnly(t)
	original := fill(t, t.TempDir(), 40)
	downgrade(t, original.dir)
	for step := 1; ; step++ {
		f := original.copy(t)
		c := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestMigrateProcess$")
		c.Env = append(os.Environ(), migrateEnv+"="+strconv.Itoa(step)+" "+f.dir)
		out, err := c.CombinedOutput()
		if err != nil && c.ProcessState.ExitCode() != -1 {
			t.Fatalf("step %d: %v\n%s", step, err, out)
		}
		var logged bytes.Buffer
		s, err2 := Open(t.Context(), Config{DataDir: f.dir, RootKey: rootAt(t, f.dir), Log: zerolog.New(&logged)})
		if err2 != nil {
			t.Fatal(err2)
		}
		var without int
		look(t, s, &without, `SELECT (SELECT COUNT(*) FROM api_keys WHERE mac = '') + (SELECT COUNT(*) FROM secrets WHERE mac = '') +
			(SELECT COUNT(*) FROM bindings WHERE mac = '') + (SELECT COUNT(*) FROM tenants WHERE mac = '')`)
		if without != 0 {
			t.Errorf("%d rows without mac", without)
		}
		for message, times := range map[string]int{"rows authenticated": 1, "audit log chained": len(f.owners)} {
			if n := strings.Count(logged.String(), message); err != nil && n != times || err == nil && n != 0 {
				t.Errorf("step %d: opened again, it logs %s", step, &logged)
			}
		}
		for _, owner := range f.owners {
			if check := verified(t, s, owner, &audit.Verifier{}); check.Problem != nil || check.Checked < 80 {
				t.Errorf("step %d: the audit log: %+v %+v", step, check, check.Problem)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		f.check(t)
		if err == nil {
			if step < 5 {
				t.Errorf("killed at %d steps", step-1)
			}
			return
		}
	}
}

// A database that has authenticated rows doesn't get the macs of rows that an attacker has added or whose macs are gone.
func TestAttack_RowsWithoutMAC(t *testing.T) {
	dir := t.TempDir()
	s := storeAt(t, dir)
	owner := tenant(t, s, "acme")
	bound(t, s, owner, "TOKEN", "v")
	reader := agent(t, s, owner, box1)
	tamper(t, s, `UPDATE bindings SET mac = ''`)
	s = storeAt(t, dir)
	_, err := s.opened(t.Context(), reader, box1)
	if err == nil {
		t.Error("a row without mac was accepted")
	}
}
