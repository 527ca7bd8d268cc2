// Package secrets manages a tenant's secrets: storing and rotating them, binding them to sandboxes and
// computers, connecting accounts by OAuth, creating resource keys, and reading the audit.
//
//	c, err := secrets.New(secrets.Config{Key: key}) // a tenant key
//	...
//	sandbox := secrets.Sandbox("sb_1")
//	secret, _, err := c.Set(ctx, secrets.Set{
//		Name: "github", Value: secrets.Text(token), Resource: sandbox, ExposeAsEnv: "GH_TOKEN",
//	})
//	...
//	secret, err = c.Rotate(ctx, secret.ID, secrets.Rotation{Value: secrets.Text(next)})
//
// It works with MIOSA's platform and with miosa-vault, and has the calls that MIOSA's SDKs have under
// Secrets, Sandboxes.Secrets and Computers.Secrets. No call returns a value: values only reach the
// resources they are bound to, through miosa-env.
//
// # Errors
//
// Use errors.Is with the kinds of package api:
//
//	api.ErrInvalid       a field is invalid; the message names it
//	api.ErrNotFound      no such secret, binding, key, event or flow, or it is another tenant's
//	api.ErrConflict      the variable is bound to another secret on that resource
//	api.ErrTooLarge      more than the vault accepts in one call
//	api.ErrUnauthorized  the key is unknown, revoked or expired
//	api.ErrDenied        the key is valid, but may not make this call
//	api.ErrMethod        the vault is older than the call
//	api.ErrRateLimited   too many requests, also after retries
//	api.ErrUnavailable   the vault can't be reached or can't serve now, also after retries
//	api.ErrRootKey       New only: the key is a vault's root key, which is never sent
//	api.ErrInternal      a fault of the vault, also after retries
//
// api.Temporary(err) reports whether the same call may succeed later. Calls are retried within Config.Timeout, except
// those that could have an effect twice (Set, Rotate, Connect, CreateKey) once the vault may have received them. If the
// context ends first, the error is the context's. An error never contains a value or a key.
package secrets
