package store

import (
	"bytes"
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"unicode/utf8"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/vault/visible"
)

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
	n.Metadata, err = compactObject(n.Metadata)
	return err
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
