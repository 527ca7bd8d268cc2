package secrets

import (
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
)

// The types of package api that calls take and return, so that programs import this package only.
type (
	// Secret is a stored secret, without its value.
	Secret = api.Secret
	// Binding assigns a secret to a variable on a resource.
	Binding = api.Binding
	// Provider is an OAuth provider.
	Provider = api.Provider
	// Event is one record of the audit.
	Event = api.Event
	// ResourceKey is a key that reveals the values of one resource.
	ResourceKey = api.IssuedKey
	// IssuedKey is a tenant key or a resource key.
	IssuedKey = api.IssuedKey
	// KeyRequest describes a key to create.
	KeyRequest = api.KeyRequest
	// Restrictions limit what a key may do.
	Restrictions = api.Restrictions
	// RevokedKeys are the keys that a call has revoked, and those that it has kept.
	RevokedKeys = api.RevokedKeys
	// OwnKey describes the key of a client.
	OwnKey = api.OwnKey
	// Resource is one sandbox or computer.
	Resource = api.Resource
	// EgressRule restricts where a broker sends a secret's value.
	EgressRule = api.EgressRule
	// Value is a secret's value. It prints as [redacted].
	Value = api.Value
)

// Sandbox is the sandbox with this id.
func Sandbox(id string) Resource { return Resource{Type: api.Sandbox, ID: id} }

// Computer is the computer with this id.
func Computer(id string) Resource { return Resource{Type: api.Computer, ID: id} }

// Text is the value with this text.
func Text(s string) Value { return api.NewValue([]byte(s)) }

// Config configures a Client. Its Key is a tenant key.
type Config = fetch.Config

// Client manages the secrets of the tenant whose key it has. It is safe for concurrent use.
type Client struct{ vault *fetch.Client }

// New returns a client. It opens no connection, and no file except CAFile.
func New(c Config) (*Client, error) {
	for prefix, kind := range map[string]string{api.ResourceKeyPrefix: "a resource key", api.BrokerKeyPrefix: "a broker key"} {
		if strings.HasPrefix(c.Key.Reveal(), prefix) {
			return nil, api.NewError(api.ErrDenied, kind+" can't manage secrets: it wants a tenant key ("+api.TenantKeyPrefix+"...)")
		}
	}
	vault, err := fetch.New(c)
	if err != nil {
		return nil, err
	}
	return &Client{vault}, nil
}

// Close closes idle connections.
func (c *Client) Close() { c.vault.Close() }
