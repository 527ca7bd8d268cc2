package vault

import (
	"database/sql/driver"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/poll"
)

// A connection that broke is replaced, the one that writes and those that read.
func TestStoreReconnects(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	secret := bound(t, s, owner, "TOKEN", "v")
	reader := agent(t, s, owner, box1)
	revealed(t, s, reader)
	breakIt := func(c *connection) {
		if c.conn != nil {
			_ = c.conn.Raw(func(any) error { return driver.ErrBadConn })
		}
	}
	s.turn <- struct{}{}
	breakIt(s.db.write)
	s.giveTurn()
	for range cap(s.db.readers) {
		c := <-s.db.readers
		breakIt(c)
		s.db.readers <- c
	}
	if _, err := s.RotateSecret(t.Context(), owner, secret.ID, Rotation{Value: text("new")}); err != nil {
		t.Fatal(err)
	}
	for range cap(s.db.readers) {
		if diff := cmp.Diff(revealed(t, s, reader), map[string]string{"TOKEN": "new"}); diff != "" {
			t.Errorf("set (-got +want)\n%s", diff)
		}
	}
}

// Writes that come together commit together, each for itself: what is refused, or fails, takes nothing
// of the others with it.
func TestWritesThatShareACommit(t *testing.T) {
	s := newStore(t)
	owner := tenant(t, s, "acme")
	bound(t, s, owner, "TAKEN", "v")
	for _, failing := range []string{"refused", "failed"} {
		t.Run(failing, func(t *testing.T) {
			s.turn <- struct{}{} // hold everybody back until all have come
			const writers = 30
			done := make(chan error, writers)
			for i := range writers {
				go func() {
					p := PutSecret{Name: failing + itoa(i), Value: text("v"), ResourceType: box1.Type, ResourceID: box1.ID}
					switch {
					case i%10 == 3 && failing == "refused":
						p.ExposeAsEnv = "TAKEN"
					case i%10 == 3:
						p.Name = "fail" + itoa(i)
					}
					_, _, _, err := s.PutSecret(t.Context(), owner, p)
					done <- err
				}()
			}
			poll.Until(t, 10*time.Second, "queued", func() bool {
				s.queue.mu.Lock()
				defer s.queue.mu.Unlock()
				return len(s.queue.jobs) == writers
			})
			if _, err := s.db.write.exec(t.Context(), `CREATE TRIGGER IF NOT EXISTS fail BEFORE INSERT ON secrets WHEN NEW.name LIKE 'fail%'
				AND NEW.name NOT LIKE 'failed%' BEGIN SELECT RAISE(ROLLBACK, 'no'); END`); err != nil {
				t.Fatal(err)
			}
			s.giveTurn()
			bad := 0
			for range writers {
				err := <-done
				if err == nil {
					continue
				}
				bad++
				if failing == "refused" {
					wantKind(t, err, api.ErrConflict)
				} else {
					wantKind(t, err, api.ErrInternal)
				}
			}
			list, _, err := s.Secrets(t.Context(), owner, SecretFilter{ResourceID: box1.ID})
			if err != nil {
				t.Fatal(err)
			}
			stored := 0
			for _, secret := range list {
				if strings.HasPrefix(secret.Name, failing) && secret.Version == 1 {
					stored++
				}
			}
			if bad != 3 || stored != writers-bad {
				t.Errorf("%d failed, %d stored; want 3, %d", bad, stored, writers-3)
			}
		})
	}
	if created := audited(t, s, owner, actSecretCreate); len(created) != 1+2*27 {
		t.Errorf("%d creations audited, want 55", len(created))
	}
}
