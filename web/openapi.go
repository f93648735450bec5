package web

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"time"

	"penstock/streams"
)

// schemas are the bodies and answers that the table names, as the Go types that
// are really read and written: the document cannot say something else.
func schemas() map[string]any {
	return map[string]any{
		"Error": errorBody{}, "SignIn": signInBody{}, "Session": sessionView{}, "Password": passwordBody{}, "System": systemView{},
		"Keys": struct {
			Keys []keyView `json:"keys"`
		}{}, "NewKey": newKeyBody{}, "IssuedKey": issuedView{},
		"Audit": auditView{}, "Probe": probeBody{}, "ProbeReport": probeView{}, "Discover": discoverBody{}, "Cameras": struct {
			Cameras []struct{} `json:"cameras"`
		}{},
		"Streams": struct {
			Streams []streamView `json:"streams"`
			Next    string       `json:"next,omitempty"`
		}{}, "NewStream": streamBody{}, "Stream": streamView{}, "StreamPatch": patchBody{},
		"NewToken": tokenBody{}, "OldToken": oldTokenBody{}, "Token": struct {
			Token   string    `json:"token"`
			Expires time.Time `json:"expires"`
		}{},
		"DataStreams": struct {
			Streams []dataView `json:"streams"`
		}{}, "Stored": storedView{}, "NewDataStream": newDataBody{}, "DataStream": dataView{}, "DataStreamPatch": dataPatchBody{}, "Split": splitBody{}, "Merge": mergeBody{},
		"NewEvent": newEventBody{}, "Event": eventView{}, "EventPatch": eventPatch{}, "Preview": previewView{}, "Events": eventsView{},
		"Talk": talkView{}, "SetKeys": keysBody{}, "SetNewKeys": newKeysBody{}, "KeyInterval": keysView{}, "Timeline": timelineView{}, "Fragments": struct {
			Clock     string     `json:"clock"`
			Fragments []struct{} `json:"fragments"`
			Next      string     `json:"next,omitempty"`
		}{},
	}
}

type object = map[string]any

func openAPI(c *call) error {
	c.w.Header().Set("Cache-Control", "no-cache")
	c.s.answer(c.w, http.StatusOK, document(table(), c.s.c.Version))
	return nil
}

// document makes the OpenAPI 3.1 document of the table.
func document(routes []route, version string) object {
	paths := object{}
	for _, rt := range routes {
		item, ok := paths[rt.Path].(object)
		if !ok {
			item = object{}
			paths[rt.Path] = item
		}
		item[strings.ToLower(rt.Method)] = operation(rt)
	}
	known := object{}
	for name, v := range schemas() {
		known[name] = schemaOf(reflect.TypeOf(v))
	}
	return object{
		"openapi": "3.1.0",
		"info":    object{"title": "Penstock", "version": version, "license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"}},
		"paths":   paths,
		"components": object{
			"schemas": known,
			"securitySchemes": object{
				"sigv4":  object{"type": "apiKey", "in": "header", "name": "Authorization", "description": "an AWS Signature Version 4 with an access key, service kinesisvideo; presigned URLs work too"},
				"bearer": object{"type": "http", "scheme": "bearer", "description": "a key's token, pst_..."},
				"media":  object{"type": "apiKey", "in": "query", "name": "token", "description": "a short-lived media token"},
				"cookie": object{"type": "apiKey", "in": "cookie", "name": cookiePlain, "description": "the console's sign-in; changes also need X-CSRF-Token"},
			},
		},
	}
}

func operation(rt route) object {
	op := object{"summary": rt.Summary, "responses": object{"default": object{"description": "an error", "content": content("Error")}}}
	if rt.Action != "" {
		op["x-penstock-action"] = string(rt.Action)
	}
	ok := object{"description": "done"}
	if rt.Answer != "" {
		ok["content"] = content(rt.Answer)
	}
	op["responses"].(object)["2XX"] = ok
	if rt.Body != "" {
		op["requestBody"] = object{"content": content(rt.Body)}
	}
	var params []object
	for _, part := range strings.Split(rt.Path, "/") {
		if strings.HasPrefix(part, "{") {
			params = append(params, object{"name": strings.Trim(part, "{}"), "in": "path", "required": true, "schema": object{"type": "string"}})
		}
	}
	for _, p := range rt.Query {
		params = append(params, object{"name": p.Name, "in": "query", "description": p.About, "schema": object{"type": "string"}})
	}
	if params != nil {
		op["parameters"] = params
	}
	if rt.On != toNobody {
		proofs := []object{{"bearer": []string{}}, {"sigv4": []string{}}, {"cookie": []string{}}}
		if rt.Door == mediaDoor {
			proofs = append(proofs, object{"media": []string{}})
		}
		op["security"] = proofs
	}
	return op
}

// content names a schema, or a content type where the name has a slash.
func content(name string) object {
	if strings.Contains(name, "/") {
		return object{name: object{}}
	}
	return object{"application/json": object{"schema": object{"$ref": "#/components/schemas/" + name}}}
}

// schemaOf describes how encoding/json writes a value of type t.
func schemaOf(t reflect.Type) object {
	switch t {
	case reflect.TypeFor[byteCount]():
		return object{"type": []string{"integer", "string"}}
	case reflect.TypeFor[json.RawMessage]():
		return object{"type": "object"}
	case reflect.TypeFor[time.Time]():
		return object{"type": "string", "format": "date-time"}
	case reflect.TypeFor[streams.Status]():
		return object{"type": "string", "enum": []streams.Status{streams.Live, streams.Connecting, streams.Offline, streams.DeniedBy, streams.Failed, streams.Idle}}
	}
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem())
	case reflect.String:
		return object{"type": "string"}
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.Float64, reflect.Float32:
		return object{"type": "number"}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{}
		}
		return object{"type": "array", "items": schemaOf(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": schemaOf(t.Elem())}
	case reflect.Struct:
		return structSchema(t)
	case reflect.Int, reflect.Int64, reflect.Int32, reflect.Uint8, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer"}
	}
	return object{}
}

func structSchema(t reflect.Type) object {
	fields := object{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			inner, ok := structSchema(f.Type)["properties"].(object)
			for k, v := range inner {
				if ok {
					fields[k] = v
				}
			}
			continue
		}
		if !f.IsExported() || name == "-" {
			continue
		}
		if name == "" {
			name = f.Name
		}
		fields[name] = schemaOf(f.Type)
	}
	return object{"type": "object", "properties": fields}
}
