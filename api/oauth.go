package api

import "time"

// Provider is an OAuth provider that an account can be connected at.
type Provider struct {
	Name        string   `json:"name"`         // as in OAuthRequest
	DisplayName string   `json:"display_name"` // for people
	Scopes      []string `json:"scopes"`       // that are requested; never nil
}

// OAuthRequest is the body of POST /egress/oauth/start. Provider is required.
type OAuthRequest struct {
	Provider string `json:"provider"` // a Provider's Name
	OAuthSecret
	RedirectURI string `json:"redirect_uri,omitempty"` // where the browser is sent at the end; "": a page of the vault
}

// OAuthSecret describes the secret of a connected account, and with a resource and ExposeAsEnv its binding.
type OAuthSecret struct {
	Scope               string `json:"scope,omitempty"` // "": the vault's default
	OwnerUserID         string `json:"owner_user_id,omitempty"`
	ExternalUserID      string `json:"external_user_id,omitempty"`
	ExternalWorkspaceID string `json:"external_workspace_id,omitempty"`
	ResourceType        string `json:"resource_type,omitempty"`
	ResourceID          string `json:"resource_id,omitempty"`
	ExposeAsEnv         string `json:"expose_as_env,omitempty"`
	Delivery            string `json:"delivery,omitempty"` // of the binding; "": DeliverValue
}

// OAuthStart is a flow that has started. The user must open AuthorizeURL before ExpiresAt.
type OAuthStart struct {
	AuthorizeURL string    `json:"authorize_url"`
	State        string    `json:"state"` // identifies the flow; to be kept as secret as a key
	Provider     string    `json:"provider"`
	ExpiresAt    time.Time `json:"expires_at"`
}

// The values of OAuthStatus.Status. All but FlowPending are final.
const (
	FlowPending   = "pending"
	FlowCompleted = "completed"
	FlowFailed    = "failed"
	FlowDenied    = "denied" // by the user or the provider
)

// OAuthStatus is the status of a flow.
type OAuthStatus struct {
	Status    string    `json:"status"`
	Provider  string    `json:"provider"`
	SecretID  string    `json:"secret_id,omitempty"` // completed: the secret with the token
	Error     string    `json:"error,omitempty"`     // failed, denied: a code such as access_denied or expired
	Message   string    `json:"message,omitempty"`   // failed, denied: a sentence with the fix
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// The values of metadata.oauth.status, the state of a connected account.
const (
	OAuthConnected = "connected"          // the vault has a token, and refreshes it before it expires
	OAuthRetrying  = "retrying"           // the last refresh failed; the vault tries again
	OAuthReconnect = "reconnect_required" // the provider refused: the user must connect again
)
