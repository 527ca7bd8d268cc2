// Package secrets manages a tenant's secrets: storing and rotating them, binding them to sandboxes and
// computers, connecting accounts by OAuth, minting resource keys, and reading the audit.
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
// It speaks to MIOSA's platform and to miosa-vault alike, and has the calls that MIOSA's SDKs have under
// Secrets, Sandboxes.Secrets and Computers.Secrets. No call gives a value back: values reach the one
// resource they are bound to, through miosa-env.
//
// # Errors
//
// What went wrong is told by errors.Is and the kinds of package api:
//
//	api.ErrInvalid       a field isn't as it must be; the sentence names it
//	api.ErrNotFound      no such secret, binding, key, event or flow, or it is another tenant's
//	api.ErrConflict      the variable's name stands for another secret on that resource
//	api.ErrTooLarge      more than the vault takes in one call
//	api.ErrUnauthorized  the key is unknown, revoked or expired
//	api.ErrDenied        the key is good, and this isn't its business
//	api.ErrMethod        the vault is older than the call
//	api.ErrRateLimited   too many requests, still after trying again
//	api.ErrUnavailable   the vault can't be reached or can't now, still after trying again
//	api.ErrInternal      a fault of the vault, still after trying again
//
// api.Temporary(err) tells whether the same call may work later. Calls try again by themselves within
// Config.Timeout, except those that could do a thing twice (Set, Rotate, Connect, CreateKey) once the
// vault may have seen them. Where the context ends first, the error is the context's. An error never
// holds a value or a key.
package secrets
