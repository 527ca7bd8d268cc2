package api

import (
	"fmt"
	"strings"
)

// The types of resources.
const (
	Sandbox  = "sandbox"
	Computer = "computer"
)

// Resource is one sandbox or computer.
type Resource struct {
	Type string `json:"resource_type"` // Sandbox or Computer
	ID   string `json:"resource_id"`
}

// maxResourceID is the longest resource id, in bytes.
const maxResourceID = 128

// ParseResource parses "sandbox:sb_1" or "computer:c_1".
func ParseResource(s string) (Resource, error) {
	typ, id, ok := strings.Cut(s, ":")
	if !ok {
		return Resource{}, fmt.Errorf("resource %q: want sandbox:ID or computer:ID", RedactKeys(s))
	}
	r := Resource{Type: typ, ID: id}
	return r, r.Validate()
}

// Validate returns an error that names an invalid field. Errors: ErrInvalid.
func (r Resource) Validate() error {
	switch {
	case r.Type == "":
		return NewError(ErrInvalid, "resource_type is required: sandbox or computer")
	case r.Type != Sandbox && r.Type != Computer:
		return NewError(ErrInvalid, "resource_type must be sandbox or computer")
	case r.ID == "":
		return NewError(ErrInvalid, "resource_id is required")
	case !isResourceID(r.ID):
		return NewError(ErrInvalid, "resource_id must be 1 to 128 letters, digits or any of . _ : @ -, the first a letter or digit")
	}
	return nil
}

// String returns the form that ParseResource parses.
func (r Resource) String() string { return r.Type + ":" + r.ID }

func isResourceID(s string) bool {
	for i := range len(s) {
		if !alphanumeric(s[i]) && (i == 0 || strings.IndexByte("._:@-", s[i]) < 0) {
			return false
		}
	}
	return len(s) >= 1 && len(s) <= maxResourceID
}
