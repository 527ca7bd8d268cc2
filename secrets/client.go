package secrets

import (
	"context"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
	"github.com/rs/zerolog"
)

// The types of package api that calls take and give, so that programs import this package only.
type (
	// Secret is a stored secret, never with its value.
	Secret = api.Secret
	// Binding says: this secret, on this resource, under this variable.
	Binding = api.Binding
	// Provider is where accounts can be connected by OAuth.
	Provider = api.Provider
	// Event is one record of the audit.
	Event = api.Event
	// ResourceKey is what a sandbox or computer reads its values with.
	ResourceKey = api.ResourceKey
	// Resource is one sandbox or computer.
	Resource = api.Resource
	// Value is a secret's value. Printing it gives [redacted].
	Value = api.Value
)

// Sandbox is the sandbox with this id.
func Sandbox(id string) Resource { return Resource{Type: api.Sandbox, ID: id} }

// Computer is the computer with this id.
func Computer(id string) Resource { return Resource{Type: api.Computer, ID: id} }

// Text is a value that the program has as text.
func Text(s string) Value { return api.NewValue([]byte(s)) }

// Config says which vault to speak to, with which key, and how.
type Config struct {
	// BaseURL is https, or http to loopback. Where its path is empty, /api/v1 is appended.
	// Empty means https://api.miosa.ai/api/v1.
	BaseURL string
	// Key is a tenant key. Required.
	Key api.Key
	// Reread reads the key again where it came from, after the vault has refused it. The call is made again if it
	// gives another one than refused. Nil: there is nowhere to read it again.
	Reread func(ctx context.Context, refused api.Key) (api.Key, error)
	// CAFile names a PEM file with the only root certificates to trust. Empty means the system's.
	CAFile string
	// Proxy is the URL of an http or https proxy. Empty means none, whatever the environment says.
	Proxy string
	// UserAgent is what the vault is told. Empty means "miosa-env".
	UserAgent string
	// Timeout bounds a call with all its retries. Zero means 10 seconds.
	Timeout time.Duration
	// Log gets attempts at debug level. The zero Logger is silent.
	Log zerolog.Logger
}

// Client manages the secrets of the tenant whose key it has. It is safe for concurrent use.
type Client struct{ vault *fetch.Client }

// New makes a client. It opens no connection, and no file but CAFile.
func New(c Config) (*Client, error) {
	if strings.HasPrefix(c.Key.Reveal(), api.ResourceKeyPrefix) {
		return nil, api.NewError(api.ErrDenied, "a resource key can't manage secrets: it wants a tenant key ("+api.TenantKeyPrefix+"...)")
	}
	vault, err := fetch.New(fetch.Config{
		BaseURL: c.BaseURL, Key: c.Key, Reread: c.Reread, CAFile: c.CAFile, Proxy: c.Proxy, UserAgent: c.UserAgent, Timeout: c.Timeout, Log: c.Log,
	})
	if err != nil {
		return nil, err
	}
	return &Client{vault}, nil
}

// Close closes the connections that no call is using.
func (c *Client) Close() { c.vault.Close() }
