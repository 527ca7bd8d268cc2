package secrets

import (
	"cmp"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/Miosa-osa/miosa-env/api"
	"github.com/Miosa-osa/miosa-env/fetch"
)

// typeConnected is the type of a secret that a flow makes.
const typeConnected = "oauth_connect"

// overdue is how long after its end a flow may still turn out to have completed.
const overdue = 10 * time.Second

// fromList tells how the flow is going by what is in the list of secrets now and wasn't when it began.
func (f *Flow) fromList(ctx context.Context) (FlowStatus, error) {
	status := FlowStatus{Status: api.FlowPending, Provider: f.Provider, ExpiresAt: f.ExpiresAt}
	list, err := f.vault.Secrets(ctx, fetch.SecretFilter{Type: typeConnected})
	if err != nil {
		return FlowStatus{}, err
	}
	for i := range list {
		if s := &list[i]; s.Type == typeConnected && !f.before[s.ID] && f.mayHaveMade(s) {
			status.Status, status.SecretID = api.FlowCompleted, s.ID
			return status, nil
		}
	}
	skew, _ := f.vault.ClockSkew()
	if !f.ExpiresAt.IsZero() && time.Now().Add(-skew).After(f.ExpiresAt.Add(overdue)) {
		status.Status, status.Error = api.FlowFailed, "expired"
	}
	return status, nil
}

// mayHaveMade reports whether nothing that a secret tells of itself, its provider and whom and what it is for,
// differs from what was asked for.
func (f *Flow) mayHaveMade(s *Secret) bool {
	if of := providerOf(s); of != "" && f.Provider != "" && !strings.EqualFold(of, f.Provider) {
		return false
	}
	for _, field := range []struct {
		wanted string
		got    *string
	}{
		{f.wanted.OwnerUserID, s.OwnerUserID}, {f.wanted.ExternalUserID, s.ExternalUserID}, {f.wanted.ExternalWorkspaceID, s.ExternalWorkspaceID},
		{f.wanted.Resource.Type, s.ResourceType}, {f.wanted.Resource.ID, s.ResourceID},
	} {
		if field.wanted != "" && field.got != nil && *field.got != "" && *field.got != field.wanted {
			return false
		}
	}
	return true
}

// providerOf is where a connected account is, "" where the vault doesn't say.
func providerOf(s *Secret) string {
	var known struct {
		Provider string `json:"provider"`
		OAuth    struct {
			Provider string `json:"provider"`
		} `json:"oauth"`
	}
	_ = json.Unmarshal(s.Metadata, &known) // what isn't there stays empty
	return cmp.Or(s.OAuthProvider, known.OAuth.Provider, known.Provider)
}
