package rule

import (
	"fmt"
	"net/textproto"

	"github.com/Miosa-osa/miosa-env/api"
)

// Slot is a place of a request at which a placeholder is swapped. Slots are comparable.
type Slot struct {
	Kind Kind
	Name string // of a header in canonical form, of a parameter or a field; of the scheme of an HMAC
}

// Kind is a kind of slots, as it is spelled in a rule.
type Kind string

// The kinds of slots.
const (
	Authorization Kind = "authorization" // the credentials of the Authorization header, in Basic on either side of the colon
	Header        Kind = "header"        // in the named header
	Query         Kind = "query"         // in the named parameter of the URL
	PathText      Kind = "path"          // in the URL's path
	JSON          Kind = "json"          // in a string of a JSON body; Name is the path of its field, with dots
	Form          Kind = "form"          // in the named parameter of a form's body
	SigV4         Kind = "sigv4"         // the key of an AWS signature
	SigV4ID       Kind = "sigv4-id"      // the access key id of an AWS signature
	HMAC          Kind = "hmac"          // the key of a signature of the body, as services that send webhooks make it
)

// DefaultSlots are the slots of a rule that names none: headers that usually have credentials.
var DefaultSlots = append([]Slot{{Kind: Authorization}}, headers(
	"Api-Key", "Apikey", "Dd-Api-Key", "Dd-Application-Key", "Deploy-Token", "Job-Token", "Ocp-Apim-Subscription-Key", "Private-Token",
	"X-Access-Token", "X-Amz-Security-Token", "X-Api-Key", "X-Api-Token", "X-Apikey", "X-Auth-Key", "X-Auth-Token", "X-Figma-Token",
	"X-Goog-Api-Key", "X-Postmark-Server-Token", "X-Rapidapi-Key", "X-Shopify-Access-Token", "X-Subscription-Token", "X-Vault-Token",
	"Xi-Api-Key",
)...)

func headers(names ...string) []Slot {
	slots := make([]Slot, len(names))
	for i, name := range names {
		slots[i] = Slot{Kind: Header, Name: textproto.CanonicalMIMEHeaderKey(name)}
	}
	return slots
}

// ParseSlot returns the slot of a rule's text, such as "header:X-Api-Key".
func ParseSlot(text string) (Slot, error) {
	kind, name, ok := api.ParseEgressSlot(text)
	if !ok {
		return Slot{}, fmt.Errorf("%q is not a slot: want authorization, header:NAME, query:NAME, path, json:FIELD, form:FIELD, sigv4, sigv4-id or hmac:SCHEME", text)
	}
	if Kind(kind) == Header {
		name = textproto.CanonicalMIMEHeaderKey(name)
	}
	return Slot{Kind: Kind(kind), Name: name}, nil
}

// String is the text that ParseSlot reads.
func (s Slot) String() string {
	if s.Name == "" {
		return string(s.Kind)
	}
	return string(s.Kind) + ":" + s.Name
}
