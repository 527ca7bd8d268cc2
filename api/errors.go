package api

import (
	"errors"
	"net/http"
	"time"
)

// Kind is one row of the table of errors. Use errors.Is to compare kinds.
type Kind struct {
	Status int    // HTTP status
	Code   string // "code" in the body, SCREAMING_SNAKE
	retry  bool   // the same request may succeed later
}

func (k *Kind) Error() string { return k.Code }

// The kinds of errors. Source: docs/api.md, "Errors".
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

// Kinds are all kinds, by status.
var Kinds = []*Kind{
	ErrMalformed, ErrUnauthorized, ErrDenied, ErrNotFound, ErrMethod, ErrConflict, ErrTooLarge,
	ErrInvalid, ErrRateLimited, ErrInternal, ErrUnavailable,
}

// KindOf returns the kind of an HTTP error status: that of the table, else ErrUnavailable for 5xx and ErrMalformed for
// others.
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

// The errors that a client detects.
var (
	// ErrNotModified: the set still has the given etag (304).
	ErrNotModified = errors.New("not modified")
	// ErrTampered: the answer doesn't open, or is for another request. Nothing of it is used.
	ErrTampered = errors.New("the vault's answer was altered on its way or isn't meant for this request")
)

// Error is an error of the vault. Message is one sentence without values and keys.
type Error struct {
	Kind       *Kind
	Code       string // from the vault; "": Kind's, or unknown
	Message    string
	RequestID  string
	RetryAfter time.Duration // 0: unknown
	Retryable  *bool         // the same request may succeed later; nil: as for Kind
	Limit      string        // of the vault, that refused the request; "": none
}

// NewError returns an error with a constant message. There is no variant with a format: it would put values into
// messages.
func NewError(k *Kind, message string) *Error { return &Error{Kind: k, Message: message} }

func (e *Error) Error() string { return e.Message }

// Unwrap makes errors.Is(err, api.ErrDenied) work.
func (e *Error) Unwrap() error { return e.Kind }

// CodeMachineScope is the code of a 403 of MIOSA's platform for a machine's lifecycle key, which may not make the call.
const CodeMachineScope = "MACHINE_KEY_SCOPE"

// OutOfScope reports whether err is the refusal of a machine's lifecycle key.
func OutOfScope(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Kind == ErrDenied && e.Code == CodeMachineScope
}

// RefusesKey reports whether err says that the vault refuses the key, with 401 or 403.
func RefusesKey(err error) bool { return errors.Is(err, ErrUnauthorized) || errors.Is(err, ErrDenied) }

// RetryAfter returns the pause that an error of the vault asks for; 0 if it asks for none.
func RetryAfter(err error) time.Duration {
	if refused, ok := errors.AsType[*Error](err); ok {
		return refused.RetryAfter
	}
	return 0
}

// Temporary reports whether the same request may succeed later: after 429 and 5xx, unless the vault's Retryable differs.
// It is false for a refused key in any case.
func Temporary(err error) bool {
	if e, ok := errors.AsType[*Error](err); ok && e.Retryable != nil && e.Kind != ErrUnauthorized && e.Kind != ErrDenied {
		return *e.Retryable
	}
	k, ok := errors.AsType[*Kind](err)
	return ok && k.retry
}

// ErrorBody is the body of all answers except 2xx and 304. RetryAfter is in seconds. SDKs read Message, which repeats
// Error, and Retryable, which is true if nothing was changed.
type ErrorBody struct {
	Error      string  `json:"error"`
	Message    string  `json:"message,omitempty"`
	Code       string  `json:"code"`
	RequestID  string  `json:"request_id"`
	RetryAfter float64 `json:"retry_after,omitempty"`
	Retryable  bool    `json:"retryable,omitempty"`
	Limit      string  `json:"limit,omitempty"` // the limit that refused the request
}
