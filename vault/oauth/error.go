package oauth

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// Outcome is what is known about a token request that failed.
type Outcome int

// The outcomes.
const (
	// Unsent: the provider has not processed the request. It can be sent again.
	Unsent Outcome = iota
	// Unclear: the provider may have processed the request. A code or refresh token that works once may be used up.
	Unclear
	// Refused: the provider refused, and would refuse again.
	Refused
)

// codeWrongIssuer is the code of an answer from another server than the provider.
const codeWrongIssuer = "wrong_issuer"

// Error is a failed token request.
type Error struct {
	Outcome    Outcome
	Code       string        // the error code, of the provider or the vault
	RetryAfter time.Duration // as the provider asks; 0: it doesn't

	cause error
}

// Error returns the code and, if the request wasn't sent, the cause. It contains nothing of the response, which may
// contain what was sent.
func (e *Error) Error() string {
	text := "provider: " + e.Code
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.cause }

// GrantRefused reports whether the user's grant was refused, so that the user must connect again. Otherwise it was
// the client: an operator must correct the vault's registration at the provider.
func (e *Error) GrantRefused() bool {
	switch e.Code {
	case "invalid_client", "unauthorized_client", "incorrect_client_credentials", "bad_client_secret", "invalid_client_id":
		return false
	}
	return true
}

// Unreachable reports whether there was no connection to the provider.
func (e *Error) Unreachable() bool { return e.Code == codeUnreachable }

// Answered reports whether the provider has sent any response.
func (e *Error) Answered() bool { return !silentCodes[e.Code] }

const (
	codeUnreachable  = "unreachable"
	codeNoAnswer     = "no_answer"
	codeUndiscovered = "discovery_failed"
)

// silentCodes are the codes of failures without a response.
var silentCodes = map[string]bool{codeUnreachable: true, codeNoAnswer: true, codeUndiscovered: true}

// transientCodes are error codes that may pass, with any status.
var transientCodes = map[string]bool{
	"temporarily_unavailable": true, "server_error": true, "slow_down": true, "rate_limited": true, "ratelimited": true,
	"internal_error": true, "fatal_error": true, "service_unavailable": true, "request_timeout": true,
}

// newError makes an *Error of an error of x/oauth2. sent: the provider may have received the request.
func newError(err error, sent bool) error {
	res, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		if errors.Is(err, errNotPublic) {
			err = errNotPublic
		}
		if !sent { // so err can contain no secret
			return &Error{Outcome: Unsent, Code: codeUnreachable, cause: err}
		}
		return &Error{Outcome: Unclear, Code: codeNoAnswer}
	}
	status := res.Response.StatusCode
	e := &Error{Code: ErrorCode(res.ErrorCode), RetryAfter: retryAfter(res.Response.Header)}
	if e.Code == "" {
		e.Code = "status_" + strconv.Itoa(status)
	}
	switch {
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable, transientCodes[res.ErrorCode] && status < 500:
		e.Outcome = Unsent
	case status >= 500:
		e.Outcome = Unclear
	case res.ErrorCode != "", status == http.StatusBadRequest, status == http.StatusUnauthorized:
		e.Outcome = Refused
	default: // a redirect, or the page of a proxy
		e.Outcome = Unclear
	}
	return e
}

// ErrorCode is a provider's error code if it has the form of one, since it is put into logs, answers and pages; otherwise
// "unreadable_error".
func ErrorCode(code string) string {
	if len(code) > 64 || strings.ContainsFunc(code, func(c rune) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.')
	}) {
		return "unreadable_error"
	}
	return code
}

// retryAfter parses seconds or a date, at most an hour.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	var d time.Duration
	if n, err := strconv.Atoi(text); err == nil {
		d = time.Duration(min(max(n, 0), 3600)) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		d = time.Until(at)
	}
	return min(max(d, 0), time.Hour)
}
