package vault

import (
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/keyring"
)

// secretRow is a secret as it is stored. Times are in microseconds.
type secretRow struct {
	id, tenant, name, typ, scope                      string
	workspace, owner, externalUser, externalWorkspace string
	resource                                          api.Resource
	version, created, updated                         int64
	expires                                           sql.NullInt64
	metadata                                          string
	keyID                                             int64
	preview, refresh, value                           []byte // sealed; scanSecret fills preview only
}

// The encrypted fields of a secret.
const (
	fieldValue   = "value"
	fieldRefresh = "refresh_token"
	fieldPreview = "preview"
)

const secretColumns = `id, tenant_id, name, type, scope, workspace_id, owner_user_id, external_user_id, external_workspace_id,
	resource_type, resource_id, version, created_at, updated_at, expires_at, metadata, key_id, preview`

func scanSecret(from interface{ Scan(...any) error }) (r secretRow, err error) {
	err = from.Scan(&r.id, &r.tenant, &r.name, &r.typ, &r.scope, &r.workspace, &r.owner, &r.externalUser, &r.externalWorkspace,
		&r.resource.Type, &r.resource.ID, &r.version, &r.created, &r.updated, &r.expires, &r.metadata, &r.keyID, &r.preview)
	return r, err
}

// secret reads one secret of the actor's tenant, without its value. Errors: ErrNotFound.
func (t *txn) secret(id string) (secretRow, error) {
	row, err := scanSecret(t.QueryRow(
		`SELECT `+secretColumns+` FROM secrets WHERE id = $1 AND tenant_id = $2`, id, t.actor.TenantID))
	if errors.Is(err, sql.ErrNoRows) {
		return secretRow{}, errNoSecret
	}
	return row, err
}

// refreshToken opens the one that is stored; nil when there is none.
func (t *txn) refreshToken(keys *keyring.Keys, r secretRow) (*api.Value, error) {
	var sealed []byte
	err := t.QueryRow(`SELECT refresh_token FROM secrets WHERE id = $1`, r.id).Scan(&sealed)
	if err != nil || sealed == nil {
		return nil, err
	}
	plain, err := keys.Open(sealed, r.id, r.version, fieldRefresh)
	if err != nil {
		return nil, err
	}
	v := api.NewValue(plain)
	return &v, nil
}

// seal encrypts value, preview and refresh token (nil: none) for r's version.
//
// The preview is sealed like the value, apart from it: in the clear it would leave ten characters of
// every key on the disk, and taking it from the value would decrypt up to 1 MiB for each line of a list.
func (r *secretRow) seal(keys *keyring.Keys, value api.Value, refresh *api.Value) (err error) {
	text := value.Reveal()
	r.keyID = keys.Current()
	if r.value, err = keys.Seal([]byte(text), r.id, r.version, fieldValue); err != nil {
		return err
	}
	if r.preview, err = keys.Seal([]byte(previewOf(text)), r.id, r.version, fieldPreview); err != nil {
		return err
	}
	r.refresh = nil
	if refresh != nil {
		r.refresh, err = keys.Seal([]byte(refresh.Reveal()), r.id, r.version, fieldRefresh)
	}
	return err
}

// previewOf shows the first 6 and last 4 characters of long values and nothing, not even the length,
// of short ones, where so many would give too much away.
func previewOf(text string) string {
	const shortest, head, tail = 32, 6, 4
	const hidden = "********"
	if len(text) < shortest || utf8.RuneCountInString(text) < shortest {
		return hidden
	}
	from, to := 0, len(text)
	for range head {
		_, size := utf8.DecodeRuneInString(text[from:])
		from += size
	}
	for range tail {
		_, size := utf8.DecodeLastRuneInString(text[:to])
		to -= size
	}
	return text[:from] + "..." + text[to:]
}

// answer is the secret as it goes over the wire.
func (r secretRow) answer(keys *keyring.Keys) (api.Secret, error) {
	preview, err := keys.Open(r.preview, r.id, r.version, fieldPreview)
	if err != nil {
		return api.Secret{}, err
	}
	provider := ""
	if r.typ == typeConnect {
		provider = oauthOf(r.metadata).Provider
	}
	return api.Secret{
		ID: r.id, Name: r.name, Type: r.typ, Scope: r.scope,
		WorkspaceID: orNull(r.workspace), OwnerUserID: orNull(r.owner),
		ExternalUserID: orNull(r.externalUser), ExternalWorkspaceID: orNull(r.externalWorkspace),
		ResourceID: orNull(r.resource.ID), ResourceType: orNull(r.resource.Type),
		MaskedValue: string(preview), Preview: string(preview),
		ExpiresAt: fromNullMicros(r.expires), Metadata: json.RawMessage(r.metadata), OAuthProvider: provider, Version: r.version,
		CreatedAt: fromMicros(r.created), UpdatedAt: fromMicros(r.updated),
	}, nil
}

// orNull answers an absent field as null.
func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// upsertKey is what makes two secrets the same one. A hash, since databases disagree on how long an
// index over so many columns may be, and on whether absent equals absent.
func (r secretRow) upsertKey() string {
	sum := sha256.Sum256(api.Frame(r.name, r.scope, r.workspace, r.owner, r.externalUser, r.externalWorkspace,
		r.resource.Type, r.resource.ID))
	return hex.EncodeToString(sum[:])
}

func (t *txn) insertSecret(r secretRow, upsertKey string) error {
	err := t.Exec(`INSERT INTO secrets (`+secretColumns+`, upsert_key, refresh_token, value)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)`,
		r.id, r.tenant, r.name, r.typ, r.scope, r.workspace, r.owner, r.externalUser, r.externalWorkspace,
		r.resource.Type, r.resource.ID, r.version, r.created, r.updated, r.expires, r.metadata, r.keyID, r.preview,
		upsertKey, r.refresh, r.value)
	return err
}

// updateSecret writes what an upsert or a rotation can change.
func (t *txn) updateSecret(r secretRow) error {
	err := t.Exec(`UPDATE secrets SET type = $1, version = $2, updated_at = $3, expires_at = $4, metadata = $5,
		key_id = $6, preview = $7, refresh_token = $8, value = $9 WHERE id = $10`,
		r.typ, r.version, r.updated, r.expires, r.metadata, r.keyID, r.preview, r.refresh, r.value, r.id)
	return err
}

// listCursor is opaque to clients: where a page of a list by created_at and id ended.
func listCursor(created int64, id string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strconv.FormatInt(created, 36) + " " + id))
}

func parseListCursor(c string) (created int64, id string, err error) {
	text, err := base64.RawURLEncoding.DecodeString(c)
	if err != nil {
		return 0, "", errCursor
	}
	number, id, ok := strings.Cut(string(text), " ")
	created, err = strconv.ParseInt(number, 36, 64)
	if err != nil || !ok {
		return 0, "", errCursor
	}
	return created, id, nil
}
