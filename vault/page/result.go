package page

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"net/http"
	"strconv"

	"github.com/Miosa-osa/miosa-env/api"
)

// Result is the page that a user sees after connecting an account, and the end of the flow in words.
type Result struct {
	Mark   string // ok, no or bad
	Title  string // what happened
	Text   string // one or two sentences more
	Next   string // what to do now
	Code   string // the error code; "": none
	status int    // HTTP's
}

// Sentence is the message of the status call.
func (r Result) Sentence() string { return r.Text + " " + r.Next }

const again = "Go back to where you came from and connect again from there."

// The results of a link that belongs to no pending flow, or can't be handled now.
var (
	Used = Result{Mark: "no", Title: "This link was already used", status: http.StatusConflict,
		Text: "Each link works once, and nothing was changed now.",
		Next: "Go back to where you came from: it shows whether the account is connected."}
	Unknown = Result{Mark: "bad", Title: "This link isn’t known here", status: http.StatusNotFound,
		Text: "It may be too old, or incomplete.", Next: again}
	Incomplete = Result{Mark: "bad", Title: "This link isn’t complete", status: http.StatusBadRequest,
		Text: "A part of it is missing, so nothing could be connected.", Next: again}
	OtherBrowser = Result{Mark: "bad", Title: "Please open the link again", status: http.StatusForbidden,
		Text: "You didn’t start here in this browser, so nothing was connected. Another person may have sent you a link of theirs.",
		Next: "If you wanted to connect your account, open the link that you were given again, in this browser, and continue from there."}
	TooMany = Result{Mark: "bad", Title: "Too many tries", status: http.StatusTooManyRequests,
		Text: "Too many links from your network weren’t known here.", Next: "Wait a minute, then connect again from where you came from."}
	Unavailable = Result{Mark: "bad", Title: "This can’t be done right now", status: http.StatusServiceUnavailable,
		Text: "The vault is busy or under maintenance. Nothing was changed.", Next: "Reload this page in a minute."}
)

// ResultOf is the result of a flow that ended with status and an error code. display is the provider's name.
func ResultOf(status, code, display string) Result {
	failed := func(httpStatus int, title, text, next string) Result {
		return Result{Mark: "bad", Title: title, Text: text, Next: next, Code: code, status: httpStatus}
	}
	switch status {
	case api.FlowCompleted:
		return Result{Mark: "ok", Title: display + " is connected", status: http.StatusOK,
			Text: "Access was granted and is kept encrypted.", Next: "You can close this tab and go back to where you came from."}
	case api.FlowDenied:
		return Result{Mark: "no", Title: display + " wasn’t connected", Code: code, status: http.StatusOK,
			Text: "The request for access was declined at " + display + ", and nothing was stored.",
			Next: "You can close this tab. If that was a mistake, connect again from where you came from."}
	}
	const notConnected = " couldn’t be connected"
	switch code {
	case "expired":
		return failed(http.StatusGone, "This link has expired", "A link is valid for a few minutes only, and nothing was stored.", again)
	case "interrupted":
		return failed(http.StatusServiceUnavailable, display+notConnected, "The vault stopped while "+display+" was being asked, and nothing was stored.", again)
	case "unreachable", "no_answer", "discovery_failed":
		return failed(http.StatusBadGateway, display+" didn’t answer", "The vault asked "+display+" for access and got no answer, so nothing was stored.", "Try again in a few minutes, from where you came from.")
	case "wrong_issuer":
		return failed(http.StatusBadRequest, display+notConnected, "The answer didn’t come from "+display+", so it was refused. Nothing was stored.", again+" If it happens again, tell the person who sent you here.")
	case "name_taken":
		return failed(http.StatusConflict, display+notConnected, "Its variable belongs to another secret now.", "Tell the person who sent you here: the other binding must be deleted first.")
	case "key_revoked":
		return failed(http.StatusForbidden, display+notConnected, "The key of the person who sent you here is no longer valid.", "Ask that person for a new link.")
	case "not_stored":
		return failed(http.StatusServiceUnavailable, display+notConnected, "Access was granted, but the vault couldn’t store it.", "Try again in a few minutes, from where you came from.")
	case "no_such_provider", "client_secret_unreadable", "invalid_client", "unauthorized_client", "incorrect_client_credentials":
		return failed(http.StatusBadGateway, display+notConnected, "The vault isn’t configured correctly for "+display+", so nothing was stored.", "Tell the vault’s operator: trying again won’t help until then.")
	}
	return failed(http.StatusBadGateway, display+notConnected, display+" refused, and nothing was stored.", again)
}

//go:embed result.html
var resultText string

//go:embed result.css
var resultStyle string

var resultPage = template.Must(template.New("result").Parse(resultText))

// resultPolicy allows the page its style and nothing else: no script, no image, no frame around it.
var resultPolicy = policy("'none'")

// policy is that of a page with resultStyle, whose forms may be sent to forms.
func policy(forms string) string {
	sum := sha256.Sum256([]byte(resultStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; base-uri 'none'; form-action " + forms + "; frame-ancestors 'none'"
}

// pageStyle is the style of pages made of templates, whose hash is in their policy.
func pageStyle() template.CSS {
	return template.CSS(resultStyle) //nolint:gosec // our own file
}

// render returns a page, and sets the headers that describe it.
func render(w http.ResponseWriter, t *template.Template, data any, policy string) []byte {
	var page bytes.Buffer
	if err := t.Execute(&page, data); err != nil {
		panic(err) // the template is in the binary
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Length", strconv.Itoa(page.Len()))
	h.Set("Content-Security-Policy", policy)
	return page.Bytes()
}

// Write answers with the page. It contains nothing of the request, neither code nor state, nor a provider's text.
func (r Result) Write(w http.ResponseWriter) {
	page := render(w, resultPage, struct {
		Result
		Style template.CSS
	}{r, pageStyle()}, resultPolicy)
	h := w.Header()
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	if r.status == http.StatusServiceUnavailable || r.status == http.StatusTooManyRequests {
		h.Set("Retry-After", "60")
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(page)
}
