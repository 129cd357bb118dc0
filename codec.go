package deed

import "encoding/json"

// Codec turns values into an event's data and back. Its methods are safe for
// concurrent use.
type Codec interface {
	ContentType() string
	Encode(v any) ([]byte, error)
	// Decode reads data into v, a pointer. It does not retain data.
	Decode(data []byte, v any) error
}

// JSON is the codec of NewType: encoding/json. Unknown fields are ignored, so that
// a producer may add fields before its consumers know them.
var JSON Codec = jsonCodec{}

type jsonCodec struct{}

func (jsonCodec) ContentType() string             { return contentTypeJSON }
func (jsonCodec) Encode(v any) ([]byte, error)    { return json.Marshal(v) }
func (jsonCodec) Decode(data []byte, v any) error { return json.Unmarshal(data, v) }
