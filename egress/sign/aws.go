// Package sign finds out with which key a request was signed, and signs it again with another key: by AWS Signature
// Version 4 and 4a, and by the schemes of services that sign webhooks.
//
// aws-sdk-go-v2's signer chooses itself which headers it signs, so it can't check a signature. This package signs the
// headers that the client has signed.
package sign

import (
	"encoding/hex"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// AWS is the signature of a request by AWS Signature Version 4 or 4a, in its Authorization header or its query. Source:
// https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
type AWS struct {
	algorithm algorithm
	presigned bool
	id        string // access key id
	scope     string // what follows it in the credential
	date      string
	signed    []string // names of headers, in lower case
	signature []byte
	payload   string // hash of the body as the client states it; "": it doesn't

	form form // set by FindKey
}

type algorithm string

const (
	v4  algorithm = "AWS4-HMAC-SHA256"
	v4a algorithm = "AWS4-ECDSA-P256-SHA256"
)

// form is one of the ways in which clients write what they sign, by index.
type form struct{ host, path, query, payload int }

const (
	headerAuthorization = "Authorization"
	headerPayload       = "X-Amz-Content-Sha256"
	headerDate          = "X-Amz-Date"
	unsignedPayload     = "UNSIGNED-PAYLOAD"
)

// Parameters of a presigned URL.
const (
	queryAlgorithm  = "X-Amz-Algorithm"
	queryCredential = "X-Amz-Credential"
	queryDate       = "X-Amz-Date"
	querySigned     = "X-Amz-SignedHeaders"
	querySignature  = "X-Amz-Signature"
)

// ParseAWS returns the signature of a request, or nil if it has none that is complete, or several.
func ParseAWS(r *http.Request) *AWS {
	s := &AWS{}
	var algorithmText, credential, signed, signature string
	if strings.Contains(r.URL.RawQuery, querySignature+"=") {
		values := map[string]string{}
		for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
			name, value, _ := strings.Cut(pair, "=")
			if _, twice := values[name]; twice && strings.HasPrefix(name, "X-Amz-") {
				return nil
			}
			text, err := url.PathUnescape(value)
			if err != nil {
				return nil
			}
			values[name] = text
		}
		s.presigned = true
		algorithmText, credential, signed, signature = values[queryAlgorithm], values[queryCredential], values[querySigned], values[querySignature]
		s.date, s.payload = values[queryDate], values[headerPayload]
	} else {
		if len(r.Header[headerAuthorization]) != 1 {
			return nil
		}
		var fields string
		algorithmText, fields, _ = strings.Cut(r.Header[headerAuthorization][0], " ")
		values := map[string]string{}
		for field := range strings.SplitSeq(fields, ",") {
			name, value, ok := strings.Cut(strings.TrimSpace(field), "=")
			if _, twice := values[name]; !ok || twice {
				return nil
			}
			values[name] = value
		}
		if len(values) != 3 {
			return nil
		}
		credential, signed, signature = values["Credential"], values["SignedHeaders"], values["Signature"]
		s.date = r.Header.Get(headerDate)
		if s.date == "" {
			s.date = r.Header.Get("Date")
		}
	}
	if values := r.Header[headerPayload]; len(values) == 1 {
		s.payload = values[0]
	} else if len(values) > 1 {
		return nil
	}
	var ok bool
	var err error
	s.algorithm = algorithm(algorithmText)
	s.signed = strings.Split(signed, ";")
	s.id, s.scope, ok = cutScope(credential, s.algorithm)
	s.signature, err = hex.DecodeString(signature)
	if !ok || err != nil || len(s.signature) == 0 || s.date == "" || signed == "" || signed != strings.ToLower(signed) || slices.Contains(s.signed, "authorization") {
		return nil
	}
	return s
}

// cutScope cuts a credential into the id, which may have slashes, and the scope: date, region (not in 4a), service and
// "aws4_request".
func cutScope(credential string, a algorithm) (id, scope string, ok bool) {
	parts := strings.Split(credential, "/")
	n := len(parts)
	switch a {
	case v4:
		n -= 4
	case v4a:
		n -= 3
	default:
		return "", "", false
	}
	if n < 1 || parts[len(parts)-1] != "aws4_request" {
		return "", "", false
	}
	return strings.Join(parts[:n], "/"), strings.Join(parts[n:], "/"), true
}

// ID returns the access key id.
func (s *AWS) ID() string { return s.id }

// ChunkSigned reports whether the body consists of chunks with signatures of their own, which depend on the key.
func (s *AWS) ChunkSigned() bool {
	return strings.HasPrefix(s.payload, "STREAMING-") && !strings.HasPrefix(s.payload, "STREAMING-UNSIGNED-")
}

// NeedsBody reports whether the signature covers the hash of a body that the request doesn't state.
func (s *AWS) NeedsBody() bool { return s.payload == "" && !s.presigned }

// FindKey returns the index of the key with which the request was signed, or -1. r is the request that was parsed; body is
// nil unless it is needed.
func (s *AWS) FindKey(r *http.Request, body []byte, keys [][]byte) int {
	forms, texts := s.texts(r, body)
	for i, key := range keys {
		verify := s.algorithm.verifier(key, s.id, s.scope)
		if verify == nil {
			continue
		}
		if f := slices.IndexFunc(texts, func(text string) bool { return verify([]byte(text), s.signature) }); f >= 0 {
			s.form = forms[f]
			return i
		}
	}
	return -1
}

// texts returns the different strings that the client may have signed, each with its form at the same index.
func (s *AWS) texts(r *http.Request, body []byte) (forms []form, texts []string) {
	c := s.canonical(r, body)
	for host := range c.hosts {
		for path := range c.paths {
			for query := range c.queries {
				for payload := range c.payloads {
					f := form{host, path, query, payload}
					if text := s.stringToSign(r, c, f); !slices.Contains(texts, text) {
						forms, texts = append(forms, f), append(texts, text)
					}
				}
			}
		}
	}
	return forms, texts
}

// Sign signs r with another key. r is the request that FindKey has checked, in which access key id, session token,
// other headers and the query may have been changed since. body is the new body, or nil if it wasn't read.
// It reports false if r has no signature any more, or the key can't be used.
func (s *AWS) Sign(r *http.Request, body, key []byte) bool {
	if body != nil && len(r.Header[headerPayload]) == 1 && len(s.payload) == hex.EncodedLen(32) {
		r.Header.Set(headerPayload, hashHex(body))
	}
	now := ParseAWS(r)
	if now == nil {
		return false
	}
	sign := now.algorithm.signer(key, now.id, now.scope)
	c := now.canonical(r, body)
	f := form{min(s.form.host, len(c.hosts)-1), min(s.form.path, len(c.paths)-1), min(s.form.query, len(c.queries)-1), min(s.form.payload, len(c.payloads)-1)}
	if sign == nil {
		return false
	}
	signature := hex.EncodeToString(sign([]byte(now.stringToSign(r, c, f))))
	if now.presigned {
		r.URL.RawQuery = replaceField(r.URL.RawQuery, "&", querySignature+"=", signature)
		return true
	}
	name, fields, _ := strings.Cut(r.Header[headerAuthorization][0], " ")
	r.Header[headerAuthorization] = []string{name + " " + replaceField(fields, ",", "Signature=", signature)}
	return true
}

// replaceField replaces what follows the prefix in one of the separated parts of a text.
func replaceField(text, separator, prefix, by string) string {
	parts := strings.Split(text, separator)
	for i, part := range parts {
		if trimmed := strings.TrimSpace(part); strings.HasPrefix(trimmed, prefix) {
			parts[i] = part[:strings.Index(part, prefix)] + prefix + by
		}
	}
	return strings.Join(parts, separator)
}
