package store

import (
	"bytes"
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"unicode/utf8"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/oauth"
	"github.com/Miosa-osa/miosa-env/vault/query"
	"github.com/Miosa-osa/miosa-env/vault/visible"
)

// secretRow is a secret as it is stored. Its Preview, MaskedValue, Egress and OAuthProvider are empty until answer.
type secretRow struct {
	api.Secret
	tenant        string
	keyID         int64 // the key that the fields below are encrypted with
	sealedPreview []byte
	refresh       []byte // nil: no refresh token. Read by refreshToken only
	value         []byte // read by reveal only
	rule          storedRule
	rowMAC
}

// The encrypted fields of a secret.
const (
	fieldValue   = "value"
	fieldRefresh = "refresh_token"
	fieldPreview = "preview"
)

// fixed are the columns that never change.
func (r *secretRow) fixed() columns {
	return columns{
		{"id", &r.ID}, {"tenant_id", &r.tenant}, {"name", &r.Name}, {"scope", &r.Scope},
		{"workspace_id", &r.WorkspaceID}, {"owner_user_id", &r.OwnerUserID},
		{"external_user_id", &r.ExternalUserID}, {"external_workspace_id", &r.ExternalWorkspaceID},
		{"resource_type", &r.ResourceType}, {"resource_id", &r.ResourceID},
		{"created_at", &r.CreatedAt},
	}
}

// changing are the columns that an upsert or a rotation may change.
func (r *secretRow) changing() columns {
	return columns{
		{"type", &r.Type}, {"version", &r.Version}, {"updated_at", &r.UpdatedAt},
		{"expires_at", &r.ExpiresAt}, {"metadata", &r.Metadata},
	}
}

// encrypted are what lists read of the encrypted columns, and the mac, which changes with them.
func (r *secretRow) encrypted() columns {
	return columns{{"key_id", &r.keyID}, {"preview", &r.sealedPreview}, r.rowMAC.column()}
}

// sealed are the columns that are read only when they are needed: a value may have 1 MiB.
func (r *secretRow) sealed() columns {
	return columns{{"refresh_token", &r.refresh}, {"value", &r.value}}
}

// stored are the columns that lists read: all but the sealed ones.
func (r *secretRow) stored() columns {
	return slices.Concat(r.fixed(), r.changing(), columns{r.rule.column()}, r.encrypted())
}

// covered leaves out what is encrypted, which is authentic by itself. The key isn't covered since it changes alone.
func (r *secretRow) covered() (table, tenant, id string, c columns) {
	return "secrets", r.tenant, r.ID, r.rule.covered(append(r.fixed(), r.changing()...))
}

func (r *secretRow) fields() []any { return r.stored().fields() }

var selectSecrets = `SELECT ` + new(secretRow).stored().names("") + ` FROM secrets`

// row is the row of n's tenant-independent fields.
func row(n api.NewSecret) secretRow {
	return secretRow{Secret: api.Secret{
		Name: n.Name, Type: n.Type, Scope: n.Scope, WorkspaceID: orNil(n.WorkspaceID), OwnerUserID: orNil(n.OwnerUserID),
		ExternalUserID: orNil(n.ExternalUserID), ExternalWorkspaceID: orNil(n.ExternalWorkspaceID),
		ResourceType: orNil(n.Resource.Type), ResourceID: orNil(n.Resource.ID), ExpiresAt: inMicros(n.ExpiresAt), Metadata: n.Metadata,
	}}
}

// upsertKey identifies a secret by its name, scope, owners and resource. It is a hash since databases differ in how
// long an index over so many columns may be, and in whether NULL equals NULL.
func (r *secretRow) upsertKey() string {
	return hashOf(string(api.Frame(r.Name, r.Scope, orEmpty(r.WorkspaceID), orEmpty(r.OwnerUserID), orEmpty(r.ExternalUserID),
		orEmpty(r.ExternalWorkspaceID), orEmpty(r.ResourceType), orEmpty(r.ResourceID))))
}

// secret reads a secret that the actor may see, without its value. Errors: ErrNotFound.
func (t *txn) secret(id string) (secretRow, error) {
	c := t.ofSecret(id)
	return one(t, "secret", (*secretRow).fields, selectSecrets+c.String(), c.Args...)
}

// ofSecret selects a secret if the actor may see it.
func (t *txn) ofSecret(id string) (c query.Conditions) {
	c.Add("id =", id)
	c.Add("tenant_id =", t.actor.TenantID)
	t.actor.limitSecrets(&c, "")
	return c
}

// refreshToken opens the stored refresh token; it is empty if there is none.
func (t *txn) refreshToken(r secretRow) (token api.Value, err error) {
	var sealed []byte
	err = t.QueryRow(`SELECT refresh_token FROM secrets WHERE id = $1`, r.ID).Scan(&sealed)
	if err != nil || sealed == nil {
		return token, err
	}
	plain, err := t.open(r, fieldRefresh, sealed)
	return api.NewValue(plain), err
}

// open decrypts a field of a row.
func (t *txn) open(r secretRow, field string, sealed []byte) (plain []byte, err error) {
	keys, err := t.keys()
	if err != nil {
		return nil, err
	}
	api.Quietly(func() { plain, err = keys.Open(sealed, r.ID, r.Version, field) })
	return plain, err
}

// seal encrypts value, preview and refresh token (empty: none) for r's version, and sets its mac. r is otherwise complete.
//
// The preview is encrypted separately: in plaintext it would expose ten characters of every key on the
// disk, and to make it from the value, a list would decrypt up to 1 MiB per secret.
func (t *txn) seal(r *secretRow, value, refresh api.Value) error {
	keys, err := t.keys()
	if err != nil {
		return err
	}
	r.keyID, r.refresh = keys.Current(), nil
	if r.value, err = keys.SealValue(value, r.ID, r.Version, fieldValue); err != nil {
		return err
	}
	var preview []byte
	value.Use(func(b []byte) { preview = previewOf(b) })
	if r.sealedPreview, err = keys.Seal(preview, r.ID, r.Version, fieldPreview); err != nil {
		return err
	}
	if refresh.Len() > 0 {
		r.refresh, err = keys.SealValue(refresh, r.ID, r.Version, fieldRefresh)
	}
	return cmp.Or(err, t.authenticate(r))
}

// hiddenPreview is a preview that shows nothing.
const hiddenPreview = "********"

// previewOf shows the first 6 and last 4 characters of a long value. Of a short one it shows nothing, not even the
// length: ten characters would be too many.
func previewOf(text []byte) []byte {
	const shortest, head, tail = 32, 6, 4
	rest := text
	for range shortest { // utf8.RuneCount would leave a copy of the value in memory
		_, size := utf8.DecodeRune(rest)
		if size == 0 {
			return []byte(hiddenPreview)
		}
		rest = rest[size:]
	}
	from, to := 0, len(text)
	for range head {
		_, size := utf8.DecodeRune(text[from:])
		from += size
	}
	for range tail {
		_, size := utf8.DecodeLastRune(text[:to])
		to -= size
	}
	return slices.Concat(text[:from], []byte("..."), text[to:])
}

// answer is a secret as the API returns it.
func (t *txn) answer(r secretRow) (api.Secret, error) {
	preview, err := t.open(r, fieldPreview, r.sealedPreview)
	if err != nil {
		return api.Secret{}, err
	}
	r.Preview = string(preview)
	r.MaskedValue, r.Egress = r.Preview, r.rule.rule()
	if r.Type == oauth.TypeAccount {
		r.OAuthProvider = oauth.ConnectionOf(r.Metadata).Provider
	}
	return r.Secret, nil
}

// changed is the answer to a change of a secret with some metadata; nil: with none. An actor that may not read secrets gets no preview,
// only the metadata that it has sent, and the rule only if it may set it.
func (t *txn) changed(r secretRow, metadata json.RawMessage) (api.Secret, error) {
	if t.actor.refusal(actSecretRead) == "" {
		return t.answer(r)
	}
	if t.actor.refusal(actSecretRule) != "" {
		r.rule = ""
	}
	if r.Metadata = metadata; r.Metadata == nil {
		r.Metadata = json.RawMessage(`{}`)
	}
	secret, err := t.answer(r)
	secret.Preview, secret.MaskedValue = hiddenPreview, hiddenPreview
	return secret, err
}

// Limits of fields other than values, in bytes.
const (
	maxName     = 256
	maxWord     = 64
	maxMetadata = 64 << 10
)

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// Complete checks the fields of a secret and sets the defaults. Errors: ErrInvalid, naming the field.
func Complete(n *api.NewSecret) error {
	n.Type, n.Scope = cmp.Or(n.Type, "api_key"), cmp.Or(n.Scope, "user")
	if n.Name == "" {
		return invalid("name is required")
	}
	if !slices.Contains(api.Scopes(), n.Scope) {
		return invalid("scope must be user, workspace, tenant, external_user or external_workspace")
	}
	err := cmp.Or(
		checkText("name", n.Name, maxName), checkText("type", n.Type, maxWord),
		checkText("workspace_id", n.WorkspaceID, maxName), checkText("owner_user_id", n.OwnerUserID, maxName),
		checkText("external_user_id", n.ExternalUserID, maxName), checkText("external_workspace_id", n.ExternalWorkspaceID, maxName),
		checkValue(n.Value), checkPlaintext("refresh_token", n.RefreshToken),
	)
	if n.Resource != (api.Resource{}) {
		err = cmp.Or(err, n.Resource.Validate())
	}
	if n.ExposeAsEnv != "" {
		err = cmp.Or(err, checkEnvName(n.ExposeAsEnv))
	}
	if err = cmp.Or(err, checkDelivery(n.Delivery)); err != nil {
		return err
	}
	if n.Metadata, err = compactObject(n.Metadata); err == nil && n.Egress == nil {
		n.Egress, err = ruleOfMetadata(n.Metadata)
	}
	return cmp.Or(err, checkRule(n.Egress))
}

func checkText(field, s string, limit int) error {
	if len(s) > limit {
		return invalid(field + " is too long")
	}
	if !visible.Text(s) {
		return invalid(field + " must be text without control, bidirectional or zero-width characters")
	}
	return nil
}

func checkValue(v api.Value) error {
	if v.IsZero() {
		return invalid("value is required; it may be an empty string")
	}
	return checkPlaintext("value", v)
}

func checkPlaintext(field string, v api.Value) error {
	if v.Len() > api.MaxValueBytes {
		return invalid(field + " is longer than 1 MiB (1048576 bytes)")
	}
	var valid, nul bool
	v.Use(func(b []byte) { valid, nul = utf8.Valid(b), bytes.IndexByte(b, 0) >= 0 })
	if !valid {
		return invalid(field + " must be UTF-8 text: encode binary data, for example in base64")
	}
	if nul {
		return invalid(field + " holds a NUL character, which no environment variable can")
	}
	return nil
}

func checkEnvName(name string) error {
	if len(name) > maxName || !envName.MatchString(name) {
		return invalid("expose_as_env must be 1 to 256 letters, digits or _, the first not a digit")
	}
	return nil
}

// checkDelivery allows "", the default.
func checkDelivery(d string) error {
	switch d {
	case "", api.DeliverValue, api.DeliverPlaceholder:
		return nil
	}
	return invalid("delivery must be value or placeholder")
}

// compactObject checks that raw is a JSON object (or empty) and removes its white space.
func compactObject(raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) == 0 || string(raw) == "null" {
		return json.RawMessage("{}"), nil
	}
	if len(raw) > maxMetadata {
		return nil, invalid("metadata is longer than 64 KiB")
	}
	var out bytes.Buffer
	if err := json.Compact(&out, raw); err != nil || out.Bytes()[0] != '{' {
		return nil, invalid("metadata must be a JSON object")
	}
	return out.Bytes(), nil
}

func resourceOf(kind, id *string) api.Resource {
	return api.Resource{Type: orEmpty(kind), ID: orEmpty(id)}
}

// policyRow is a policy as it is stored.
type policyRow struct {
	api.Policy
	tenant string
	rowMAC
}

func (r *policyRow) columns() columns {
	return columns{
		{"id", &r.ID}, {"tenant_id", &r.tenant}, {"resource_type", &r.ResourceType}, {"resource_id", &r.ResourceID},
		{"name", &r.Name}, {"description", &r.Description}, {"mode", &r.Mode}, {"default_effect", &r.DefaultEffect},
		{"created_at", &r.CreatedAt}, {"updated_at", &r.UpdatedAt},
	}
}

func (r *policyRow) covered() (table, tenant, id string, c columns) {
	return "network_policies", r.tenant, r.ID, r.columns()
}

func (r *policyRow) stored() columns { return append(r.columns(), r.rowMAC.column()) }

func (r *policyRow) fields() []any { return r.stored().fields() }

var selectPolicies = `SELECT ` + new(policyRow).stored().names("") + ` FROM network_policies`

// entryRow is an entry of the allowlist as it is stored.
type entryRow struct {
	api.AllowlistEntry
	tenant string
	rowMAC
}

func (r *entryRow) columns() columns {
	return columns{
		{"id", &r.ID}, {"tenant_id", &r.tenant}, {"resource_type", &r.ResourceType}, {"resource_id", &r.ResourceID},
		{"policy_id", &r.PolicyID}, {"host", &r.Host}, {"effect", &r.Effect}, {"methods", &r.Methods}, {"path_glob", &r.PathGlob},
		{"note", &r.Note}, {"created_at", &r.CreatedAt},
	}
}

func (r *entryRow) covered() (table, tenant, id string, c columns) {
	return "allowlist", r.tenant, r.ID, r.columns()
}

func (r *entryRow) stored() columns { return append(r.columns(), r.rowMAC.column()) }

func (r *entryRow) fields() []any { return r.stored().fields() }

var selectEntries = `SELECT ` + new(entryRow).stored().names("") + ` FROM allowlist`
