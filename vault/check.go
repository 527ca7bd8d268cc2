package vault

import (
	"bytes"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/Miosa-osa/miosa-env/api"
)

// Limits of what is stored beside values, in bytes.
const (
	maxName     = 256
	maxWord     = 64
	maxMetadata = 64 << 10
)

var scopes = map[string]bool{"user": true, "workspace": true, "tenant": true, "external_user": true, "external_workspace": true}

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// complete checks every field and fills in what is left out. Errors: ErrInvalid, naming the field.
func (p *PutSecret) complete() error {
	if p.Type == "" {
		p.Type = "api_key"
	}
	if p.Scope == "" {
		p.Scope = "user"
	}
	if p.Name == "" {
		return invalid("name is required")
	}
	if !scopes[p.Scope] {
		return invalid("scope must be user, workspace, tenant, external_user or external_workspace")
	}
	err := errors.Join(
		checkText("name", p.Name, maxName), checkText("type", p.Type, maxWord),
		checkText("workspace_id", p.WorkspaceID, maxName), checkText("owner_user_id", p.OwnerUserID, maxName),
		checkText("external_user_id", p.ExternalUserID, maxName), checkText("external_workspace_id", p.ExternalWorkspaceID, maxName),
		checkValue("value", p.Value, true), checkValue("refresh_token", p.RefreshToken, false),
	)
	if p.ResourceID != "" || p.ResourceType != "" {
		err = errors.Join(err, api.Resource{Type: p.ResourceType, ID: p.ResourceID}.Validate())
	}
	if p.ExposeAsEnv != "" {
		err = errors.Join(err, checkEnvName(p.ExposeAsEnv))
	}
	err = errors.Join(err, checkDelivery(&p.Delivery, true))
	if err != nil {
		return first(err)
	}
	p.Metadata, err = compactObject(p.Metadata)
	return err
}

// first is the first of several refusals: an answer is one sentence.
func first(err error) error {
	var e *api.Error
	if errors.As(err, &e) {
		return e
	}
	return err
}

func checkText(field, s string, limit int) error {
	if len(s) > limit {
		return invalid(field + " is too long")
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return invalid(field + " must be text without control characters")
	}
	return nil
}

func checkValue(field string, v *api.Value, required bool) error {
	if v == nil {
		if required {
			return invalid(field + " is required; it may be an empty string")
		}
		return nil
	}
	if v.Len() > api.MaxValueBytes {
		return invalid(field + " is longer than 1 MiB (1048576 bytes)")
	}
	text := v.Reveal()
	if !utf8.ValidString(text) {
		return invalid(field + " must be UTF-8 text: encode binary data, in base64 for one")
	}
	if strings.IndexByte(text, 0) >= 0 {
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

// checkDelivery fills in the default, unless it matters whether one was asked for.
func checkDelivery(d *string, keepEmpty bool) error {
	switch *d {
	case api.DeliverValue, api.DeliverPlaceholder:
	case "":
		if !keepEmpty {
			*d = api.DeliverValue
		}
	default:
		return invalid("delivery must be value or placeholder")
	}
	return nil
}

// compactObject checks that raw is a JSON object (or absent) and drops its white space.
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
