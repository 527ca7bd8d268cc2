package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"
)

// EgressRule restricts where a broker sends a secret's value. Of an empty list, the default applies; Hosts has none.
type EgressRule struct {
	Hosts   []string     `json:"hosts"`             // such as "api.github.com", "*.example.com" (subdomains only), or an IP address
	Ports   []int        `json:"ports,omitempty"`   // default: 443
	Methods []string     `json:"methods,omitempty"` // default: all
	Paths   []string     `json:"paths,omitempty"`   // patterns: "*" matches within a segment, "**" any text; default: all
	Slots   []string     `json:"slots,omitempty"`   // where in a request; default: headers that usually have credentials
	Shape   *EgressShape `json:"shape,omitempty"`   // of placeholders; nil: PlaceholderPrefix and 26 characters
}

// PlaceholderPrefix is how placeholders begin whose rules give them no other shape.
const PlaceholderPrefix = "miosa-tok-"

// EgressShape is the form of placeholders, for clients that check the form of keys. At least 128 bits of a placeholder are
// random.
type EgressShape struct {
	Prefix   string `json:"prefix,omitempty"`   // such as "ghp_"
	Length   int    `json:"length,omitempty"`   // characters in all, the prefix included; 0: as many as 128 random bits take
	Alphabet string `json:"alphabet,omitempty"` // of the random part: characters and ranges, such as "0-9a-f"; "": "A-Za-z0-9"
}

// Egress is what a broker needs of a binding beside the value. Only the sets of broker keys have it.
type Egress struct {
	Placeholder string       `json:"placeholder"`
	Rules       []EgressRule `json:"rules"` // the secret's, then the binding's; a request must satisfy all. Without any, nothing is swapped
}

// Limits of a rule, in items and bytes.
const (
	maxEgressList = 64
	maxEgressText = 253 // the longest name of a host
	maxEgressRule = 8 << 10
)

// Limits of placeholders.
const (
	placeholderBits   = 128 // that are random, at least
	maxPlaceholder    = 512 // characters
	defaultAlphabet   = "A-Za-z0-9"
	placeholderMarks  = "-._~+/=" // may be in a placeholder beside letters and digits
	placeholderPrefix = placeholderMarks + ":"
)

// IsZero reports whether the rule has no field, which stands for no rule where one is changed.
func (r EgressRule) IsZero() bool {
	return len(r.Hosts)+len(r.Ports)+len(r.Methods)+len(r.Paths)+len(r.Slots) == 0 && r.Shape == nil
}

// ParseEgressRule decodes a rule, and refuses fields that rules don't have, and empty lists: they would allow more than was meant.
// null is the zero rule. Errors: ErrInvalid.
func ParseEgressRule(text []byte) (*EgressRule, error) {
	var r EgressRule
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(&r)
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil, invalidEgress(wrong.Field + " has the wrong type: hosts, methods, paths and slots are lists of strings, ports is a list of numbers, and a rule and its shape are objects")
	}
	if err != nil {
		return nil, invalidEgress(" has a field that rules don't have: there are hosts, ports, methods, paths, slots and shape, with prefix, length and alphabet")
	}
	for name, empty := range map[string]bool{
		"hosts": r.Hosts != nil && len(r.Hosts) == 0, "ports": r.Ports != nil && len(r.Ports) == 0, "methods": r.Methods != nil && len(r.Methods) == 0,
		"paths": r.Paths != nil && len(r.Paths) == 0, "slots": r.Slots != nil && len(r.Slots) == 0,
	} {
		if empty {
			return nil, invalidEgress(name + " is empty, which might be meant to allow nothing: leave it out for its default")
		}
	}
	if r.IsZero() {
		return &r, nil
	}
	return &r, r.Validate()
}

// Validate returns an error that names an invalid field. Errors: ErrInvalid.
func (r EgressRule) Validate() error {
	if len(r.Hosts) == 0 {
		return invalidEgress("hosts is required: the hosts that the value may be sent to, such as api.example.com or *.example.com")
	}
	for _, list := range []struct {
		name  string
		items []string
		valid func(string) bool
		want  string
	}{
		{"hosts", r.Hosts, egressHost, "names of hosts in lower case such as api.example.com or *.example.com, or IP addresses, without a port"},
		{"methods", r.Methods, egressMethod, "methods in upper case such as GET"},
		{"paths", r.Paths, ValidEgressPath, "paths such as /repos/**: they start with / and have no ?, # or space; * matches within a segment, ** any text"},
		{"slots", r.Slots, egressSlot, "authorization, header:NAME, query:NAME, path, json:FIELD, form:FIELD, sigv4, sigv4-id, hmac:github, hmac:stripe and hmac:slack"},
	} {
		if len(list.items) > maxEgressList {
			return invalidEgress(fmt.Sprintf("%s has more than %d items", list.name, maxEgressList))
		}
		for _, item := range list.items {
			if list.name == "hosts" && strings.Contains(item, "://") {
				return invalidEgress("hosts has a URL: want a host without a scheme and a path, such as api.example.com")
			}
			if len(item) > maxEgressText || !list.valid(item) {
				return invalidEgress(list.name + " may have " + list.want)
			}
		}
	}
	if len(r.Ports) > maxEgressList || slices.ContainsFunc(r.Ports, func(p int) bool { return p < 1 || p > math.MaxUint16 }) {
		return invalidEgress(fmt.Sprintf("ports may have at most %d numbers from 1 to 65535", maxEgressList))
	}
	if r.Shape != nil {
		if err := r.Shape.Validate(); err != nil {
			return err
		}
	}
	if text, err := json.Marshal(r); err != nil || len(text) > maxEgressRule {
		return invalidEgress(fmt.Sprintf(" has more than %d bytes", maxEgressRule))
	}
	return nil
}

// invalidEgress is the error about a field of a rule, or of the rule if the message begins with a space.
func invalidEgress(message string) error {
	if message[0] != ' ' {
		message = "." + message
	}
	return NewError(ErrInvalid, "egress"+message)
}

// egressHost reports whether s is a host of a rule: an IP address, or a name in lower case, maybe of all subdomains.
func egressHost(s string) bool {
	if at, err := netip.ParseAddr(s); err == nil {
		return at.Zone() == "" && at.String() == s && !at.Is4In6()
	}
	name := strings.TrimPrefix(s, "*.")
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	// The last label of a name isn't a number: 1.2.3 is a form of an address for some programs.
	last := labels[len(labels)-1]
	return strings.Trim(last, "0123456789") != "" && !strings.HasPrefix(last, "0x") && (name == s || len(labels) > 1)
}

func egressMethod(s string) bool {
	return s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") == ""
}

// ValidEgressPath reports whether a text is a path of a rule: in a form that DecodePath decodes to UTF-8, without a query.
func ValidEgressPath(s string) bool {
	if !strings.HasPrefix(s, "/") || !visibleASCII(s) || strings.ContainsAny(s, `?#\`) {
		return false
	}
	decoded, ok := DecodePath(s)
	return ok && utf8.ValidString(decoded)
}

// DecodePath percent-decodes a path once. An encoded slash becomes a NUL. ok is false for an invalid escape and an encoded NUL.
func DecodePath(path string) (decoded string, ok bool) {
	const slash = "\x00"
	segments := strings.Split(path, "/")
	for i, s := range segments {
		text, err := url.PathUnescape(s)
		if err != nil || strings.Contains(text, slash) {
			return "", false
		}
		segments[i] = strings.ReplaceAll(text, "/", slash)
	}
	return strings.Join(segments, "/"), true
}

func egressSlot(s string) bool {
	_, _, ok := ParseEgressSlot(s)
	return ok
}

// ParseEgressSlot splits a slot of a rule, such as "header:X-Api-Key", into its kind and its name: of a header, a parameter, a field or a
// scheme, "" for kinds without one. ok is false for a text that isn't a slot.
func ParseEgressSlot(s string) (kind, name string, ok bool) {
	kind, name, named := strings.Cut(s, ":")
	switch kind {
	case "authorization", "path", "sigv4", "sigv4-id":
		return kind, "", !named
	case "header":
		ok = name != "" && headerName(name) && !slices.Contains(hopHeaders, strings.ToLower(name))
	case "query", "form":
		ok = name != "" && visibleASCII(name)
	case "json":
		ok = visibleASCII(name) && !slices.Contains(strings.Split(name, "."), "")
	case "hmac":
		ok = slices.Contains([]string{"github", "stripe", "slack"}, name)
	}
	return kind, name, ok
}

// hopHeaders are headers that say where a request goes and where it ends, so no value belongs there.
var hopHeaders = []string{
	"connection", "content-length", "expect", "host", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
}

// headerName reports whether s is the name of a header: a token of RFC 9110.
func headerName(s string) bool {
	for i := range len(s) {
		if !alphanumeric(s[i]) && strings.IndexByte("!#$%&'*+-.^_`|~", s[i]) < 0 {
			return false
		}
	}
	return true
}

func visibleASCII(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// Validate returns an error that names an invalid field. Errors: ErrInvalid.
func (s *EgressShape) Validate() error {
	if !placeholderText(s.Prefix, placeholderPrefix) || len(s.Prefix) > maxPlaceholder/2 {
		return invalidEgress("shape.prefix may have letters, digits and any of " + placeholderPrefix)
	}
	letters, ok := s.letters()
	if !ok {
		return invalidEgress("shape.alphabet may have letters, digits, any of " + placeholderMarks + ", and ranges such as 0-9a-f: at least two characters")
	}
	least := len(s.Prefix) + randomLength(len(letters))
	if s.Length != 0 && s.Length < least {
		return invalidEgress(fmt.Sprintf("shape.length must be at least %d, so that %d bits of a placeholder are random", least, placeholderBits))
	}
	if max(s.Length, least) > maxPlaceholder {
		return invalidEgress(fmt.Sprintf("shape.length must be at most %d", maxPlaceholder))
	}
	return nil
}

// Random is how many characters of a placeholder are random, and of which letters they are. The shape is valid.
func (s *EgressShape) Random() (letters string, length int) {
	letters, _ = s.letters()
	if s.Length == 0 {
		return letters, randomLength(len(letters))
	}
	return letters, s.Length - len(s.Prefix)
}

// randomLength is how many of so many letters have placeholderBits bits.
func randomLength(letters int) int {
	return int(math.Ceil(placeholderBits / math.Log2(float64(letters))))
}

// letters expands the ranges of the alphabet: its characters, sorted and each once.
func (s *EgressShape) letters() (string, bool) {
	from := s.Alphabet
	if from == "" {
		from = defaultAlphabet
	}
	var set []byte
	for i := 0; i < len(from); i++ {
		if i+2 < len(from) && from[i+1] == '-' {
			if from[i] > from[i+2] {
				return "", false
			}
			for c := int(from[i]); c <= int(from[i+2]); c++ {
				set = append(set, byte(c))
			}
			i += 2
			continue
		}
		set = append(set, from[i])
	}
	slices.Sort(set)
	set = slices.Compact(set)
	return string(set), len(set) > 1 && placeholderText(string(set), placeholderMarks)
}

// placeholderText reports whether a placeholder may contain s: letters, digits and marks.
func placeholderText(s, marks string) bool {
	for i := range len(s) {
		if !alphanumeric(s[i]) && strings.IndexByte(marks, s[i]) < 0 {
			return false
		}
	}
	return true
}

// frame encodes what a broker needs for the etag.
func (e *Egress) frame() []byte {
	parts := make([]string, 0, 2+len(e.Rules))
	parts = append(parts, "egress", e.Placeholder)
	for _, r := range e.Rules {
		parts = append(parts, compact(r))
	}
	return Frame(parts...)
}

// frame encodes a policy for the etag.
func (p *NetworkPolicy) frame() []byte { return Frame("policy", compact(p)) }

// compact is the JSON of texts, numbers and lists of them.
func compact(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err) // these types can be encoded
	}
	return string(text)
}
