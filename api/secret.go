package api

import (
	"encoding/json"
	"strings"
	"time"
)

// MaxValueBytes is the longest secret value, 1 MiB.
const MaxValueBytes = 1 << 20

// Secret is a stored secret, without its value.
type Secret struct {
	ID                  string          `json:"id"`
	Name                string          `json:"name"`
	Type                string          `json:"type"`
	Scope               string          `json:"scope"`
	WorkspaceID         *string         `json:"workspace_id"`
	OwnerUserID         *string         `json:"owner_user_id"`
	ExternalUserID      *string         `json:"external_user_id"`
	ExternalWorkspaceID *string         `json:"external_workspace_id"`
	ResourceID          *string         `json:"resource_id"`
	ResourceType        *string         `json:"resource_type"`
	MaskedValue         string          `json:"masked_value"`
	Preview             string          `json:"preview"`
	ExpiresAt           *time.Time      `json:"expires_at"`
	Metadata            json.RawMessage `json:"metadata"`                 // a JSON object
	Egress              *EgressRule     `json:"egress,omitempty"`         // where a broker may send the value; nil: nowhere
	OAuthProvider       string          `json:"oauth_provider,omitempty"` // of a connected account
	Version             int64           `json:"version"`                  // incremented by each rotation
	CreatedAt           time.Time       `json:"created_at"`
	UpdatedAt           time.Time       `json:"updated_at"`
}

// UnmarshalJSON implements json.Unmarshaler, and takes the times that other vaults write.
func (s *Secret) UnmarshalJSON(text []byte) error {
	type plain Secret // without this method
	got := struct {
		*plain
		ExpiresAt  LooseTime `json:"expires_at"`
		CreatedAt  LooseTime `json:"created_at"`
		InsertedAt LooseTime `json:"inserted_at"`
		UpdatedAt  LooseTime `json:"updated_at"`
	}{plain: (*plain)(s)}
	if err := json.Unmarshal(text, &got); err != nil {
		return err
	}
	s.ExpiresAt, s.CreatedAt, s.UpdatedAt = got.ExpiresAt.pointer(), got.CreatedAt.or(got.InsertedAt), got.UpdatedAt.Time
	return nil
}

// NewSecret is a secret to store. Name and Value are required; the vault has defaults for other empty fields. The body
// of POST /egress/secrets has its JSON, and the fields without JSON under the names given here.
type NewSecret struct {
	Name                string          `json:"name,omitempty"`
	Value               Value           `json:"-"` // "value"; encoding a Value fails
	Type                string          `json:"type,omitempty"`
	Scope               string          `json:"scope,omitempty"`
	WorkspaceID         string          `json:"workspace_id,omitempty"`
	OwnerUserID         string          `json:"owner_user_id,omitempty"`
	ExternalUserID      string          `json:"external_user_id,omitempty"`
	ExternalWorkspaceID string          `json:"external_workspace_id,omitempty"`
	Resource            Resource        `json:"-"` // "resource_type", "resource_id"; with ExposeAsEnv the secret is also bound there
	ExposeAsEnv         string          `json:"expose_as_env,omitempty"`
	Delivery            string          `json:"delivery,omitempty"` // of that binding; "": DeliverValue
	RefreshToken        Value           `json:"-"`                  // "refresh_token"
	ExpiresAt           *time.Time      `json:"expires_at,omitempty"`
	Metadata            json.RawMessage `json:"metadata,omitempty"` // a JSON object
	Egress              *EgressRule     `json:"egress,omitempty"`   // nil: that of Metadata, if it has one
}

// Binding is the assignment of a secret to an environment variable on a resource.
type Binding struct {
	ID       string `json:"id"`
	SecretID string `json:"secret_id"`
	Resource
	ExposeAsEnv      string    `json:"expose_as_env"`
	PlaceholderToken string    `json:"placeholder_token"`
	Delivery         string    `json:"delivery"` // DeliverValue or DeliverPlaceholder
	CreatedAt        time.Time `json:"created_at"`

	Egress *EgressRule `json:"egress,omitempty"` // narrows the secret's rule: both must allow a request

	SecretName string    `json:"secret_name"`
	Version    int64     `json:"version"`             // the secret's
	UpdatedAt  time.Time `json:"updated_at,omitzero"` // the secret's last rotation

	ExpiresAt *time.Time `json:"expires_at,omitempty"` // the secret's; nil: never, or unknown
}

// UnmarshalJSON implements json.Unmarshaler, and takes the times that other vaults write.
func (b *Binding) UnmarshalJSON(text []byte) error {
	type plain Binding // without this method
	got := struct {
		*plain
		CreatedAt  LooseTime `json:"created_at"`
		InsertedAt LooseTime `json:"inserted_at"`
		UpdatedAt  LooseTime `json:"updated_at"`
		ExpiresAt  LooseTime `json:"expires_at"`
	}{plain: (*plain)(b)}
	if err := json.Unmarshal(text, &got); err != nil {
		return err
	}
	b.CreatedAt, b.UpdatedAt, b.ExpiresAt = got.CreatedAt.or(got.InsertedAt), got.UpdatedAt.Time, got.ExpiresAt.pointer()
	return nil
}

// NewBinding is the body of POST /egress/bindings. All fields except Delivery are required.
type NewBinding struct {
	SecretID string `json:"secret_id"`
	Resource
	ExposeAsEnv string      `json:"expose_as_env"`
	Delivery    string      `json:"delivery,omitempty"` // "": DeliverValue
	Egress      *EgressRule `json:"egress,omitempty"`   // narrows the secret's rule; without one of the secret, nothing is sent
}

// Placeholder is the binding's placeholder token; "" if the vault returned none, or only a preview.
func (b Binding) Placeholder() string {
	if strings.ContainsAny(b.PlaceholderToken, "*…") || strings.Contains(b.PlaceholderToken, "...") {
		return ""
	}
	return b.PlaceholderToken
}

// DeliveredAs is the binding's delivery. If the vault returned none, it follows from the placeholder token.
func (b Binding) DeliveredAs() string {
	switch {
	case b.Delivery == DeliverValue, b.Delivery == DeliverPlatform:
		return b.Delivery
	case b.Placeholder() == "":
		return DeliverPlatform
	}
	return DeliverPlaceholder
}

// The deliveries of a binding. A vault with the agent API has the first two.
const (
	DeliverValue       = "value"       // the agent reveals the value
	DeliverPlaceholder = "placeholder" // the agent injects the placeholder; a proxy substitutes the value in outgoing requests
	DeliverPlatform    = "platform"    // the platform sets the variable; the agent gets no value
)
