package api

import "time"

// Provider is an OAuth provider that an account can be connected at.
type Provider struct {
	Name        string   `json:"name"`         // what POST /egress/oauth/start takes
	DisplayName string   `json:"display_name"` // what people read
	Scopes      []string `json:"scopes"`       // what is asked for; never nil
}

// OAuthRequest is the body of POST /egress/oauth/start: an account to connect. Provider is required.
type OAuthRequest struct {
	Provider string `json:"provider"` // a Provider's Name
	OAuthSecret
	RedirectURI string `json:"redirect_uri,omitempty"` // where the browser goes at the end; the vault's own page where empty
}

// OAuthSecret is the secret that an account becomes, and with a resource and ExposeAsEnv its binding.
type OAuthSecret struct {
	Scope               string `json:"scope,omitempty"` // the vault's default where empty
	OwnerUserID         string `json:"owner_user_id,omitempty"`
	ExternalUserID      string `json:"external_user_id,omitempty"`
	ExternalWorkspaceID string `json:"external_workspace_id,omitempty"`
	ResourceType        string `json:"resource_type,omitempty"`
	ResourceID          string `json:"resource_id,omitempty"`
	ExposeAsEnv         string `json:"expose_as_env,omitempty"`
}

// OAuthStart is a flow that has begun: the user is to open AuthorizeURL before ExpiresAt.
type OAuthStart struct {
	AuthorizeURL string    `json:"authorize_url"`
	State        string    `json:"state"` // names the flow; whoever has it can end it, so it is kept like a key
	Provider     string    `json:"provider"`
	ExpiresAt    time.Time `json:"expires_at"`
}

// The words of OAuthStatus.Status. All but FlowPending are final.
const (
	FlowPending   = "pending"
	FlowCompleted = "completed"
	FlowFailed    = "failed"
	FlowDenied    = "denied" // the user, or the provider on the user's behalf, said no
)

// OAuthStatus tells how a flow is going.
type OAuthStatus struct {
	Status    string    `json:"status"`
	Provider  string    `json:"provider"`
	SecretID  string    `json:"secret_id,omitempty"` // completed: the secret that holds the token
	Error     string    `json:"error,omitempty"`     // failed, denied: a word such as access_denied or expired
	Message   string    `json:"message,omitempty"`   // failed, denied: a sentence, with what to do
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// What metadata.oauth.status says about a connection's health.
const (
	OAuthConnected = "connected"          // the vault has a token, and renews it where it ends
	OAuthRetrying  = "retrying"           // the last renewal didn't work out; the vault tries again by itself
	OAuthReconnect = "reconnect_required" // the provider refused: somebody has to connect again
)
