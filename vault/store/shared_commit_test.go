package store

import (
	"strings"
	"sync"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
)

// Concurrent writes share a commit but succeed or fail individually: one that is refused or fails does not affect
// the others.
func TestWritesThatShareACommit(t *testing.T) {
	postgrestest.SQLiteOnly(t)
	s := newStore(t)
	owner := tenant(t, s, "acme")
	bound(t, s, owner, "TAKEN", "v")
	for _, failing := range []string{"refused", "failed"} {
		t.Run(failing, func(t *testing.T) {
			if failing == "failed" {
				tamper(t, s, `CREATE TRIGGER fail BEFORE INSERT ON secrets WHEN NEW.name LIKE 'fail%'
					AND NEW.name NOT LIKE 'failed%' BEGIN SELECT RAISE(ROLLBACK, 'no'); END`)
			}
			release := blockWrites(t, s) // until all are queued
			var come sync.WaitGroup
			const writers = 30
			done := make(chan error, writers)
			for i := range writers {
				come.Add(1)
				go func() {
					p := api.NewSecret{Name: failing + itoa(i), Value: text("v"), Resource: box1}
					switch {
					case i%10 == 3 && failing == "refused":
						p.ExposeAsEnv = "TAKEN"
					case i%10 == 3:
						p.Name = "fail" + itoa(i)
					}
					come.Done()
					_, _, _, err := s.PutSecret(t.Context(), owner, p, nil)
					done <- err
				}()
			}
			come.Wait()
			release()
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
