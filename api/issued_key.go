package api

import (
	"slices"
	"strings"
	"time"
)

// IssuedKey describes a key that a vault has issued: a tenant key, which has no resource, a resource key, which may
// list and reveal one resource's bindings, or a broker key. Only the answer to its creation has Key.
type IssuedKey struct {
	ID string `json:"id"`
	Resource
	Broker   bool   `json:"broker,omitempty"` // a broker key, of the resources in Restrictions
	Key      string `json:"key,omitempty"`
	Label    string `json:"label"`
	ParentID string `json:"parent_id"` // the key that created it; "": the vault's operator
	Restrictions
	ExpiresAt  *time.Time `json:"expires_at"`
	CreatedAt  time.Time  `json:"created_at"`
	LastUsedAt *time.Time `json:"last_used_at"` // up to a minute old; nil: never
	RevokedAt  *time.Time `json:"revoked_at"`
	// Altered says that somebody else than the vault has changed the stored key. The vault refuses it, and tells only its ID and CreatedAt.
	Altered bool `json:"altered,omitempty"`
}

// OwnKey describes the key of a request to itself.
type OwnKey struct {
	IssuedKey
	Tenant string `json:"tenant"` // its name; "": a resource key isn't told
}

// Ended reports whether the key was revoked or has expired.
func (k *IssuedKey) Ended(now time.Time) bool {
	return k.RevokedAt != nil || k.ExpiresAt != nil && !k.ExpiresAt.After(now)
}

// KeyRequest describes a key to issue. With the zero Resource it is a tenant key, or a broker key.
type KeyRequest struct {
	Resource
	Broker    bool       `json:"broker,omitempty"` // a broker key, of the resources in Restrictions
	Label     string     `json:"label"`
	ExpiresAt *time.Time `json:"expires_at"` // nil: never
	Restrictions
}

// Restrictions limit what a key may do. An empty list limits nothing.
type Restrictions struct {
	Permissions []string `json:"permissions"` // of a tenant key: some of Permissions
	Scopes      []string `json:"scopes"`      // of secrets; a resource key and a broker key reveal only secrets of these scopes
	Resources   []string `json:"resources"`   // of a tenant key or a broker key: such as sandbox:sb_1
}

// The permissions of a tenant key.
const (
	PermissionSecretsRead   = "secrets:read"
	PermissionSecretsWrite  = "secrets:write"
	PermissionBindingsWrite = "bindings:write"
	PermissionKeysWrite     = "keys:write"
	PermissionNetworkWrite  = "network:write"
	PermissionAuditRead     = "audit:read"
	PermissionOAuth         = "oauth"
)

// Permissions returns all permissions.
func Permissions() []string {
	return []string{PermissionSecretsRead, PermissionSecretsWrite, PermissionBindingsWrite, PermissionKeysWrite, PermissionNetworkWrite, PermissionAuditRead, PermissionOAuth}
}

// Scopes returns all scopes of secrets.
func Scopes() []string {
	return []string{"user", "workspace", "tenant", "external_user", "external_workspace"}
}

// maxRestrictions is the number of resources to which a key can be restricted.
const maxRestrictions = 100

// Has reports whether a resource is one of Resources.
func (r Restrictions) Has(resource Resource) bool {
	return slices.Contains(r.Resources, resource.String())
}

// None reports whether r limits nothing.
func (r Restrictions) None() bool {
	return len(r.Permissions) == 0 && len(r.Scopes) == 0 && len(r.Resources) == 0
}

// Validate returns an error that names an invalid field. Errors: ErrInvalid.
func (r Restrictions) Validate() error {
	for _, p := range r.Permissions {
		if !slices.Contains(Permissions(), p) {
			return NewError(ErrInvalid, "permissions may have "+strings.Join(Permissions(), ", "))
		}
	}
	for _, s := range r.Scopes {
		if !slices.Contains(Scopes(), s) {
			return NewError(ErrInvalid, "scopes may have "+strings.Join(Scopes(), ", "))
		}
	}
	if len(r.Resources) > maxRestrictions {
		return NewError(ErrInvalid, "resources has more than 100 items")
	}
	for _, text := range r.Resources {
		if _, err := ParseResource(text); err != nil {
			return NewError(ErrInvalid, "resources may have sandbox:ID and computer:ID, the ids of 1 to 128 letters, digits or any of . _ : @ -")
		}
	}
	return nil
}

// RevokedKeys is the answer to a revocation: the keys that were revoked, and the keys that they had created and that
// stay valid.
type RevokedKeys struct {
	OK      bool        `json:"ok"` // true
	Revoked []IssuedKey `json:"revoked"`
	Kept    []IssuedKey `json:"kept"`
}

// What happens to the keys that a revoked key has created.
const (
	ChildrenRevoke = "revoke"
	ChildrenKeep   = "keep"
)

// How long a replaced key stays valid.
const (
	DefaultGrace = 24 * time.Hour
	MaxGrace     = 365 * 24 * time.Hour
)
