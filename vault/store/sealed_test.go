package store

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/internal/test/canary"
	"github.com/Miosa-osa/miosa-env/internal/test/postgrestest"
)

// A field copied from another row does not open, and the error says so.
func TestFault_V12_SwappedRowsAreRefused(t *testing.T) {
	postgrestest.SQLiteOnly(t)
	tests := []struct {
		name, sql string // $1: the victim's id, $2: the id of the source row
		from      string // "same tenant", "other tenant", "older version"
	}{
		{"another secret's value", `UPDATE secrets SET value = (SELECT value FROM secrets WHERE id = $2) WHERE id = $1`, "same tenant"},
		{"another tenant's value", `UPDATE secrets SET value = (SELECT value FROM secrets WHERE id = $2) WHERE id = $1`, "other tenant"},
		{"another tenant's whole row", `UPDATE secrets SET (value, preview, key_id) = (SELECT value, preview, key_id FROM secrets WHERE id = $2) WHERE id = $1`, "other tenant"},
		{"the tenants' keysets too", `UPDATE tenants SET (keyset, generation, root_key_id) = (SELECT keyset, generation, root_key_id FROM tenants WHERE id =
			(SELECT tenant_id FROM secrets WHERE id = $2)) WHERE id = (SELECT tenant_id FROM secrets WHERE id = $1)`, "other tenant"},
		{"a secret moved to another tenant", `UPDATE secrets SET tenant_id = (SELECT tenant_id FROM secrets WHERE id = $1), upsert_key = 'x' WHERE id = $2`, "moved"},
		{"version raised", `UPDATE secrets SET version = version + 1 WHERE id IN ($1, $2)`, "same tenant"},
		{"fields swapped", `UPDATE secrets SET value = preview, preview = value WHERE id IN ($1, $2)`, "same tenant"},
		{"refresh token as value", `UPDATE secrets SET value = refresh_token WHERE id = $1 AND id <> $2`, "same tenant"},
		{"eight bytes overwritten", `UPDATE secrets SET value = CAST(substr(value, 1, 20) || x'0000000000000000' || substr(value, 29) AS BLOB) WHERE id IN ($1, $2)`, "same tenant"},
		{"cut", `UPDATE secrets SET value = substr(value, 1, 3) WHERE id IN ($1, $2)`, "same tenant"},
		{"generation lowered", `UPDATE tenants SET generation = generation - 1 WHERE id = (SELECT tenant_id FROM secrets WHERE id IN ($1, $2))`, "same tenant"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			s := storeAt(t, dir)
			owner, other := tenant(t, s, "acme"), tenant(t, s, "other")
			victim := put(t, s, owner, api.NewSecret{Name: "victim", Value: text("CANARY victim"), RefreshToken: text("CANARY refresh")})
			bind(t, s, owner, api.NewBinding{SecretID: victim.ID, Resource: box1, ExposeAsEnv: "VICTIM"})
			source := owner
			if tt.from != "same tenant" {
				source = other
			}
			donor := put(t, s, source, api.NewSecret{Name: "donor", Value: text("CANARY donor")})
			reader := agent(t, s, owner, box1)
			tamper(t, s, tt.sql, victim.ID, donor.ID)
			if tt.from == "moved" {
				_, _, err := s.CreateBinding(t.Context(), owner, api.NewBinding{SecretID: donor.ID, Resource: box1, ExposeAsEnv: "DONOR"})
				wantKind(t, err, api.ErrInternal)
				return
			}
			fresh := storeAt(t, dir) // with nothing in its memory
			set, err := fresh.opened(t.Context(), reader, box1)
			wantKind(t, err, api.ErrInternal)
			refused := strings.Contains(err.Error(), "doesn't open") || strings.Contains(err.Error(), "changed outside of the vault")
			if message := err.Error(); set != nil || !refused || strings.Contains(message, "CANARY") {
				t.Errorf("set of %d, error %q", len(set), message)
			}
			if n := len(audited(t, fresh, owner, actReveal)); n != 0 {
				t.Errorf("%d reveals audited", n)
			}
		})
	}
}

// No value, refresh token or key appears in the database, its log, a log line or an error after every operation on
// them.
func TestNothingIsStoredInTheClear(t *testing.T) {
	dir := t.TempDir()
	var logged bytes.Buffer
	s, err := Open(t.Context(), Config{DataDir: dir, RootKey: rootAt(t, dir),
		Log: zerolog.New(&logged).Level(zerolog.TraceLevel)})
	if err != nil {
		t.Fatal(err)
	}
	open := true
	defer func() {
		if open {
			_ = s.Close()
		}
	}()
	minted, err := s.CreateTenantKey(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	owner := actorOf(t, s, minted.Key)
	resourceKey, err := s.CreateResourceKey(t.Context(), owner, box1, nil)
	if err != nil {
		t.Fatal(err)
	}
	key, err := api.ParseKey(resourceKey.Key)
	if err != nil {
		t.Fatal(err)
	}
	reader := actorOf(t, s, key)

	canaries := []string{"CANARYone-4f9a8b7c6d5e4f3a2b1c-long-enough", "CANARYtwo-11223344556677889900-refresh!", "CANARYthree-aabbccddeeff00112233-rotated",
		"CANARYfour-99887766554433221100-replaced", "CANARYfive-1a2b3c4d5e6f7a8b9c0d-refused", "CANARYsix-short-000000000000"}
	p := api.NewSecret{Name: "n", Value: text(canaries[0]), RefreshToken: text(canaries[1]), Resource: box1, ExposeAsEnv: "TOKEN"}
	secret := put(t, s, owner, p)
	revealed(t, s, reader)
	if _, err := s.RotateSecret(t.Context(), owner, secret.ID, Rotation{Value: text(canaries[2])}); err != nil {
		t.Fatal(err)
	}
	p.Value = text(canaries[3])
	put(t, s, owner, p)
	bound(t, s, owner, "SHORT", canaries[5])
	var failures []string
	for _, bad := range []string{canaries[4] + "\x00", canaries[4] + "\xff"} {
		_, err := s.RotateSecret(t.Context(), owner, secret.ID, Rotation{Value: text(bad)})
		failures = append(failures, err.Error())
	}
	if _, err := s.RotateKeys(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if err := s.RotateRoot(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := revealed(t, s, reader); got["TOKEN"] != canaries[3] || got["SHORT"] != canaries[5] {
		t.Fatal("the values are not revealed")
	}
	if err := s.DeleteSecret(t.Context(), owner, secret.ID); err != nil {
		t.Fatal(err)
	}
	search := func(when string) {
		t.Helper()
		places := canary.Files(t, dir)
		places["the log"], places["the errors"] = logged.String(), strings.Join(failures, "\n")
		for place, content := range places {
			for _, value := range canaries {
				for _, form := range canary.Forms(value) {
					if strings.Contains(content, form) {
						t.Errorf("%s: %s contains %q of %q", when, place, form, value)
					}
				}
			}
			for _, k := range []string{minted.Key.Reveal(), resourceKey.Key} {
				if strings.Contains(content, k[10:30]) {
					t.Errorf("%s: %s contains a key", when, place)
				}
			}
		}
		if len(places[filepath.Join(dir, "vault.db")]) == 0 {
			t.Fatal("no database file was searched")
		}
	}
	search("open")
	open = false
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	search("closed")
}
