package oauth

import (
	"strings"

	"github.com/Miosa-osa/miosa-env/api"
)

// maxScopes is the greatest length of a list of scopes, in bytes. A page lists them for the user.
const maxScopes = 2048

// ParseScopes parses scopes that are separated by spaces (RFC 6749, 3.3). Errors: api.ErrInvalid.
func ParseScopes(text string) ([]string, error) {
	list := strings.Fields(text)
	if len(list) == 0 || len(text) > maxScopes || strings.ContainsFunc(strings.Join(list, ""), func(c rune) bool {
		return c <= ' ' || c > '~' || c == '"' || c == '\\'
	}) {
		return nil, api.NewError(api.ErrInvalid, "scope must be user, workspace, tenant, external_user or external_workspace, or OAuth scopes separated by spaces, such as \"repo read:user\"")
	}
	return list, nil
}
