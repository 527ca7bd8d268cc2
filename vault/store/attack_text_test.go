package store

import (
	"encoding/base64"
	"errors"
	"testing"

	"github.com/Miosa-osa/miosa-env/api"
)

// Text that a database can't have is looked for as any other: an error of the database would make all writes that share its
// transaction run one by one.
func TestAttack_TextOfIDs(t *testing.T) {
	s := newStore(t)
	a := tenant(t, s, "acme")
	for _, id := range []string{"\x00", "\xff"} {
		cursor := base64.RawURLEncoding.EncodeToString([]byte("abc " + id))
		for name, err := range map[string]error{
			"delete":   s.DeleteSecret(t.Context(), a, id),
			"unbind":   s.DeleteBinding(t.Context(), a, id),
			"revoke":   second(s.Revoke(t.Context(), a, id, "")),
			"read":     second(s.Secret(t.Context(), a, id)),
			"event":    second(s.AuditEvent(t.Context(), a, id)),
			"bind":     third(s.CreateBinding(t.Context(), a, api.NewBinding{SecretID: id, Resource: box1, ExposeAsEnv: "X"})),
			"secrets":  third(s.Secrets(t.Context(), a, SecretFilter{Page: Page{Cursor: cursor}})),
			"bindings": third(s.Bindings(t.Context(), a, BindingFilter{Page: Page{Cursor: base64.RawURLEncoding.EncodeToString([]byte("a b " + id))}})),
		} {
			if err != nil && !errors.Is(err, api.ErrNotFound) && !errors.Is(err, api.ErrInvalid) {
				t.Errorf("%s %q: %v", name, id, err)
			}
		}
	}
}

func second[A any](_ A, err error) error        { return err }
func third[A, B any](_ A, _ B, err error) error { return err }
