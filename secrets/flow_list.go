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

// typeConnected is the type of a connected account.
const typeConnected = "oauth_connect"

// overdue is how long after its expiry a flow may still complete.
const overdue = 10 * time.Second

// fromList is the status according to the list of secrets.
func (f *Flow) fromList(ctx context.Context) (FlowStatus, error) {
	status := FlowStatus{Status: api.FlowPending, Provider: f.Provider, ExpiresAt: f.ExpiresAt}
	list, err := f.vault.Secrets(ctx, fetch.SecretFilter{Type: typeConnected})
	if err != nil {
		return FlowStatus{}, err
	}
	for i := range list {
		if s := &list[i]; s.Type == typeConnected && !f.before[s.ID] && f.mayHaveCreated(s) {
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

// mayHaveCreated reports whether a secret's provider, owners and resource are unknown or as requested.
func (f *Flow) mayHaveCreated(s *Secret) bool {
	if of := providerOf(s); of != "" && f.Provider != "" && !strings.EqualFold(of, f.Provider) {
		return false
	}
	return Filter{
		Resource: f.wanted.Resource, OwnerUserID: f.wanted.OwnerUserID,
		ExternalUserID: f.wanted.ExternalUserID, ExternalWorkspaceID: f.wanted.ExternalWorkspaceID,
	}.Matches(s)
}

// providerOf is the provider of a connected account; "": unknown.
func providerOf(s *Secret) string {
	var known struct {
		Provider string `json:"provider"`
		OAuth    struct {
			Provider string `json:"provider"`
		} `json:"oauth"`
	}
	_ = json.Unmarshal(s.Metadata, &known)
	return cmp.Or(s.OAuthProvider, known.OAuth.Provider, known.Provider)
}
