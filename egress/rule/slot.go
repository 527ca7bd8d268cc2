package rule

import (
	"fmt"
	"net/textproto"
	"slices"
	"strings"
)

// Slot is a place of a request at which a placeholder is swapped. Slots are comparable.
type Slot struct {
	Kind Kind
	Name string // of a header in canonical form, of a parameter or a field; of the scheme of an HMAC
}

// Kind is a kind of slots.
type Kind uint8

// The kinds of slots.
const (
	Authorization Kind = iota + 1 // the credentials of the Authorization header, in Basic on either side of the colon
	Header                        // in the named header
	Query                         // in the named parameter of the URL
	PathText                      // in the URL's path
	JSON                          // in a string of a JSON body; Name is the path of its field, with dots
	Form                          // in the named parameter of a form's body
	SigV4                         // the key of an AWS signature
	SigV4ID                       // the access key id of an AWS signature
	HMAC                          // the key of a signature of the body, as services that send webhooks make it
)

// kinds are the names of kinds of slots, and of those with a name what precedes it.
var kinds = [...]string{
	Authorization: "authorization", Header: "header:", Query: "query:", PathText: "path", JSON: "json:", Form: "form:",
	SigV4: "sigv4", SigV4ID: "sigv4-id", HMAC: "hmac:",
}

// schemes are the names of HMAC schemes.
var schemes = []string{"github", "stripe", "slack"}

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
	for kind, prefix := range kinds {
		name, named := strings.CutPrefix(text, prefix)
		switch s := (Slot{Kind: Kind(kind), Name: name}); {
		case kind == 0 || !named || strings.HasSuffix(prefix, ":") == (name == ""):
		case s.Kind == Header:
			s.Name = textproto.CanonicalMIMEHeaderKey(name)
			return s, nil
		case s.Kind == HMAC && !slices.Contains(schemes, name):
		default:
			return s, nil
		}
	}
	return Slot{}, fmt.Errorf("%q is not a slot: want authorization, header:NAME, query:NAME, path, json:FIELD, form:FIELD, sigv4, sigv4-id or hmac:SCHEME", text)
}

// String is the text that ParseSlot reads.
func (s Slot) String() string { return kinds[s.Kind] + s.Name }
