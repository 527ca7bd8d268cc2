package api

import (
	"errors"
	"net/http"
	"time"
)

// Kind is one row of the table of errors: what both sides mean by a status. Kinds are compared
// with errors.Is.
type Kind struct {
	Status int    // HTTP status
	Code   string // "code" in the body, SCREAMING_SNAKE
	retry  bool   // may pass by itself
}

func (k *Kind) Error() string { return k.Code }

// The kinds of refusal the contract knows. Source: docs/api.md, "Errors".
var (
	ErrMalformed    = &Kind{http.StatusBadRequest, "MALFORMED", false}
	ErrUnauthorized = &Kind{http.StatusUnauthorized, "UNAUTHORIZED", false}
	ErrDenied       = &Kind{http.StatusForbidden, "FORBIDDEN", false}
	ErrNotFound     = &Kind{http.StatusNotFound, "NOT_FOUND", false}
	ErrMethod       = &Kind{http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", false}
	ErrConflict     = &Kind{http.StatusConflict, "CONFLICT", false}
	ErrTooLarge     = &Kind{http.StatusRequestEntityTooLarge, "TOO_LARGE", false}
	ErrInvalid      = &Kind{http.StatusUnprocessableEntity, "INVALID", false}
	ErrRateLimited  = &Kind{http.StatusTooManyRequests, "RATE_LIMITED", true}
	ErrInternal     = &Kind{http.StatusInternalServerError, "INTERNAL", true}
	ErrUnavailable  = &Kind{http.StatusServiceUnavailable, "UNAVAILABLE", true}
)

// Kinds lists every kind, by rising status.
var Kinds = []*Kind{
	ErrMalformed, ErrUnauthorized, ErrDenied, ErrNotFound, ErrMethod, ErrConflict, ErrTooLarge,
	ErrInvalid, ErrRateLimited, ErrInternal, ErrUnavailable,
}

// KindOf returns the kind of an HTTP error status: the row with that status, else ErrUnavailable
// for another 5xx and ErrMalformed for anything else.
func KindOf(status int) *Kind {
	for _, k := range Kinds {
		if k.Status == status {
			return k
		}
	}
	if status >= 500 {
		return ErrUnavailable
	}
	return ErrMalformed
}

// What a client can find out by itself.
var (
	// ErrNotModified: the set named by the etag still stands (304).
	ErrNotModified = errors.New("not modified")
	// ErrTampered: the answer doesn't open, or isn't the one asked for. The whole answer is refused.
	ErrTampered = errors.New("the vault's answer was altered on its way or isn't meant for this request")
)

// Error is a refusal by the vault, and the body of every answer that isn't 2xx or 304.
// Message is one sentence that never repeats a value or a key.
type Error struct {
	Kind       *Kind
	Code       string // as the vault gave it; empty: not said, or Kind's
	Message    string
	RequestID  string
	RetryAfter time.Duration // zero: not said
	Retryable  *bool         // whether the same request may succeed later, as the vault said; nil: as Kind says
}

// NewError takes a finished sentence. There is no formatting twin on purpose: it would invite values
// into messages.
func NewError(k *Kind, message string) *Error { return &Error{Kind: k, Message: message} }

func (e *Error) Error() string { return e.Message }

// Unwrap makes errors.Is(err, api.ErrDenied) work.
func (e *Error) Unwrap() error { return e.Kind }

// CodeMachineScope is the code of a 403 of MIOSA's platform: the key is a machine's own, for its
// lifecycle, and the call isn't part of that.
const CodeMachineScope = "MACHINE_KEY_SCOPE"

// OutOfScope reports whether err refuses a machine's own key, whatever it asks for.
func OutOfScope(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Kind == ErrDenied && e.Code == CodeMachineScope
}

// Temporary reports whether the same request may succeed later: 429 and 5xx, unless the vault said
// otherwise. Nothing it says makes a refused key temporary.
func Temporary(err error) bool {
	var e *Error
	if errors.As(err, &e) && e.Retryable != nil && e.Kind != ErrUnauthorized && e.Kind != ErrDenied {
		return *e.Retryable
	}
	var k *Kind
	return errors.As(err, &k) && k.retry
}

// ErrorBody is an Error as it goes over the wire. RetryAfter is in seconds. Message repeats Error, and
// Retryable is true of refusals after which nothing has changed: SDKs look for these two.
type ErrorBody struct {
	Error      string  `json:"error"`
	Message    string  `json:"message,omitempty"`
	Code       string  `json:"code"`
	RequestID  string  `json:"request_id"`
	RetryAfter float64 `json:"retry_after,omitempty"`
	Retryable  bool    `json:"retryable,omitempty"`
}
