package oauth

import (
	"errors"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/oauth2"
)

// Outcome says what is known of a request that gave no token.
type Outcome int

// The outcomes.
const (
	// Unsent: the provider has not acted on it. The same request can be made again.
	Unsent Outcome = iota
	// Unclear: it may have been acted on, and the answer got lost. What works once may be used up.
	Unclear
	// Refused: the provider said no, and will again.
	Refused
)

// CodeWrongIssuer is the code of an answer that came from another server than the one asked.
const CodeWrongIssuer = "wrong_issuer"

// Error is a request that gave no token.
type Error struct {
	Outcome    Outcome
	Code       string        // a word: the provider's own error code, or ours
	RetryAfter time.Duration // what the provider asks for; 0: nothing

	cause error
}

// Error tells the code and, where the request didn't come through, why. Answers are never repeated: what a
// provider writes into them may hold what was sent.
func (e *Error) Error() string {
	text := "provider: " + e.Code
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}

func (e *Error) Unwrap() error { return e.cause }

// Grant tells whether it is the user's consent that is gone, so that connecting again is what helps. Otherwise it
// is the client that was refused, the vault's registration at the provider, which an operator can mend.
func (e *Error) Grant() bool {
	switch e.Code {
	case "invalid_client", "unauthorized_client", "incorrect_client_credentials", "bad_client_secret", "invalid_client_id":
		return false
	}
	return true
}

// passing are codes of providers that say nothing final, whatever their status.
var passing = map[string]bool{
	"temporarily_unavailable": true, "server_error": true, "slow_down": true, "rate_limited": true, "ratelimited": true,
	"internal_error": true, "fatal_error": true, "service_unavailable": true, "request_timeout": true,
}

// judge turns what x/oauth2 ended with into an *Error.
func judge(err error, sent bool) error {
	answer, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		if !sent {
			return &Error{Outcome: Unsent, Code: "unreachable", cause: withoutAnswer(err)}
		}
		return &Error{Outcome: Unclear, Code: "no_answer"}
	}
	status := answer.Response.StatusCode
	e := &Error{Code: word(answer.ErrorCode), RetryAfter: retryAfter(answer.Response.Header)}
	if e.Code == "" {
		e.Code = "status_" + strconv.Itoa(status)
	}
	switch {
	case status == http.StatusTooManyRequests, status == http.StatusServiceUnavailable, passing[answer.ErrorCode] && status < 500:
		e.Outcome = Unsent
	case status >= 500:
		e.Outcome = Unclear
	case answer.ErrorCode != "", status == http.StatusBadRequest, status == http.StatusUnauthorized:
		e.Outcome = Refused
	default: // a redirect, or a page of somebody in between
		e.Outcome = Unclear
	}
	return e
}

// withoutAnswer keeps why a connection wasn't made. Nothing of ours was sent, so nothing of ours is in it but the URL.
func withoutAnswer(err error) error {
	if errors.Is(err, errNotPublic) {
		return errNotPublic
	}
	return err
}

// word keeps a provider's error code if it looks like one: it goes into logs, answers and pages.
func word(code string) string {
	if len(code) > 64 {
		return "unreadable_error"
	}
	for _, c := range code {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '.') {
			return "unreadable_error"
		}
	}
	return code
}

// Word is word for the code in a callback's query; "" where there is none.
func Word(code string) string { return word(code) }

// retryAfter reads seconds or a date, at most an hour.
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

// Public is the part of the reason that whoever named the URL may know; "" where there is none.
func (e *Error) Public() string {
	if errors.Is(e.cause, errNotPublic) {
		return errNotPublic.Error()
	}
	return ""
}
