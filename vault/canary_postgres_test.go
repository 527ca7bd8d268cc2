package vault_test

import (
	"bytes"
	"context"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/Miosa-osa/miosa-env/internal/delay"
	"github.com/Miosa-osa/miosa-env/internal/test/buffer"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
	"github.com/Miosa-osa/miosa-env/vault/vaulttest"
)

// TestCanaries on PostgreSQL: the server, which logs all statements with their parameters, sees no value or key either, and nor do
// those who see the statements under way or listen to announcements.
func TestCanariesOnPostgreSQL(t *testing.T) {
	vaulttest.OneVault(t, "its vault is on PostgreSQL already")
	server := postgrestest.New(t)
	for _, statement := range []string{"ALTER SYSTEM SET log_statement = 'all'", "ALTER SYSTEM SET log_connections = on", "SELECT pg_reload_conf()"} {
		if err := server.Exec(t.Context(), statement); err != nil {
			t.Fatal(err)
		}
	}
	at, err := url.Parse(server.URL(server.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	password, _ := at.User.Password()
	seen, heard := &buffer.Buffer{}, &buffer.Buffer{}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	for _, watch := range []func(context.Context, *pgx.Conn) error{
		func(ctx context.Context, conn *pgx.Conn) error {
			for {
				var text string
				err := conn.QueryRow(ctx, "SELECT COALESCE(string_agg(query || ' ' || application_name, ' '), '') FROM pg_stat_activity WHERE pid <> pg_backend_pid()").Scan(&text)
				if err == nil {
					_, err = seen.Write([]byte(text))
				}
				if err == nil {
					err = delay.Sleep(ctx, 20*time.Millisecond)
				}
				if err != nil {
					return err
				}
			}
		},
		func(ctx context.Context, conn *pgx.Conn) error {
			var channel string
			err := conn.QueryRow(ctx, "SELECT 'miosa_vault_' || to_hex(hashtextextended(current_schema(), 0))").Scan(&channel)
			if err == nil {
				_, err = conn.Exec(ctx, "LISTEN "+pgx.Identifier{channel}.Sanitize())
			}
			for err == nil {
				n, waited := conn.WaitForNotification(ctx)
				if err = waited; err == nil {
					_, err = heard.Write([]byte(n.Payload))
				}
			}
			return err
		},
	} {
		conn, err := pgx.Connect(ctx, at.String())
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			err := watch(ctx, conn)
			_ = conn.Close(context.Background())
			ended <- err
		}()
	}
	t.Cleanup(func() {
		stop()
		for range 2 {
			if err := <-ended; ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	places := func() map[string][]byte {
		text, err := os.ReadFile(server.LogFile())
		if err != nil {
			t.Fatal(err)
		}
		return map[string][]byte{"the server's log": text, "pg_stat_activity": []byte(seen.String()), "the announcements": []byte(heard.String())}
	}
	searchCanaries(t, map[string]string{"password": password}, on(at.String()), places)
	for place, want := range map[string]string{"the server's log": "DETAIL:  parameters: $1 =", "pg_stat_activity": "miosa-vault listening", "the announcements": `"resource_id":"sb_1"`} {
		if text := places()[place]; !bytes.Contains(text, []byte(want)) {
			t.Errorf("%s has no %s: %s", place, want, text[:min(len(text), 300)])
		}
	}
}
