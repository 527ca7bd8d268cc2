package api

import "time"

// Provider is an OAuth provider that an account can be connected at.
type Provider struct {
	Name        string   `json:"name"`         // what POST /egress/oauth/start takes
	DisplayName string   `json:"display_name"` // what people read
	Scopes      []string `json:"scopes"`       // what is asked for; never nil
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
