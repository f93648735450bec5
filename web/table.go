package web

import "penstock/auth"

// Parameters that several routes take.
var (
	windowParams = []param{{"start", "RFC 3339, microseconds since 1970, or a duration before now such as -10m"}, {"end", "as start; now when absent"}}
	clockParam   = param{"clock", "producer: times are meant by the producer's clock, as far as it told it; server when absent"}
	dvrParam     = param{"dvr", "list the recording this far back too, such as 6h; at most a day"}
	tokenParam   = param{"token", "a media token instead of the Authorization header"}
)

func tokened(more ...param) []param { return append(more, tokenParam) }

func window(more ...param) []param { return append(append([]param{}, windowParams...), more...) }

// socketPath is the live socket's: what it begins and ends is known.
const socketPath = "/v1/streams/{name}/ws"

// table is every route of the server. Paths of the AWS services join it with their issues.
func table() []route {
	const one, oneData = "/v1/streams/{name}", "/v1/data/{name}"
	return []route{
		{Method: "GET", Path: "/livez", On: toNobody, Summary: "The process is alive", Answer: "text/plain", Handle: alive},
		{Method: "GET", Path: "/readyz", On: toNobody, Summary: "Media can be taken and persisted", Answer: "text/plain", Handle: ready},
		{Method: "GET", Path: "/openapi.json", On: toNobody, Summary: "This document", Answer: "application/json", Handle: openAPI},
		{Method: "GET", Path: "/metrics", Action: auth.ReadMetrics, On: toServer, Summary: "Prometheus metrics", Answer: "text/plain", Handle: metrics},

		{Method: "GET", Path: "/debug/pprof/{profile}", Action: auth.ReadMetrics, On: toServer, Summary: "Where time and memory go: profile, trace, heap, allocs, goroutine, ...", Query: []param{{"seconds", "of profile and trace"}}, Answer: "application/octet-stream", Handle: showProfile},

		{Method: "POST", Path: "/v1/session", On: toNobody, Summary: "Sign in with a password or a one-time link", Body: "SignIn", Answer: "Session", Handle: signIn},
		{Method: "GET", Path: "/v1/session", On: toSelf, Summary: "Who is signed in", Answer: "Session", Handle: showSession},
		{Method: "DELETE", Path: "/v1/session", On: toSelf, Summary: "Sign out", Handle: signOut},
		{Method: "POST", Path: "/v1/password", Action: auth.SetOwn, On: toAccount, Summary: "Set the password of the account", Body: "Password", Handle: setPassword},
		{Method: "GET", Path: "/v1/system", Action: auth.ReadSystem, On: toServer, Summary: "The server: version, disk, addresses, problems", Answer: "System", Handle: showSystem},
		{Method: "GET", Path: "/v1/keys", Action: auth.ManageKeys, On: toAccount, Summary: "Access keys, without their secrets", Answer: "Keys", Handle: listKeys},
		{Method: "POST", Path: "/v1/keys", Action: auth.ManageKeys, On: toAccount, Summary: "Make an access key; its secret and token are shown this once", Body: "NewKey", Answer: "IssuedKey", Handle: createKey},
		{Method: "DELETE", Path: "/v1/keys/{id}", Action: auth.ManageKeys, On: toAccount, Summary: "Revoke an access key and end what it started", Handle: removeKey},

		{Method: "GET", Path: "/v1/audit", Action: auth.ReadAudit, On: toAccount, Summary: "The audit log, newest first. A page with a next has more after it, however few entries it holds: one call looks at 8 MiB of the log at most", Query: []param{{"start", "RFC 3339 or a duration before now such as -1d"}, {"end", "as start; entries before it"}, {"principal", "a part of who it was, in any case"}, {"action", "a part of it, such as SignIn or kinesis:"}, {"object", "a part of what was touched"}, {"decision", "allow, deny or fail"}, {"limit", "at most 1000; 100 when absent"}, {"next", "of the answer before, with the same filters"}}, Answer: "Audit", Handle: listAudit},

		{Method: "POST", Path: "/v1/probe", Action: auth.Probe, On: toAccount, Summary: "Try a camera step by step; with Accept: application/x-ndjson each step as it is taken", Body: "Probe", Answer: "ProbeReport", Handle: probeCamera},
		{Method: "POST", Path: "/v1/discover", Action: auth.Discover, On: toAccount, Summary: "Look for ONVIF cameras on the local network", Body: "Discover", Answer: "Cameras", Handle: discoverCameras},
		{Method: "POST", Path: "/v1/probe/key-interval", Action: auth.SetCamera, On: toAccount, Summary: "Set how often a camera makes a key frame, through ONVIF, before it is added", Body: "SetNewKeys", Answer: "KeyInterval", Handle: setNewKeys},
		{Method: "GET", Path: "/v1/events", Action: auth.ListStreams, On: toAccount, Summary: "Changes as server-sent events: stream, deleted, mark, unmark", Answer: "text/event-stream", Handle: showEvents},

		{Method: "GET", Path: "/v1/streams", Action: auth.ListStreams, On: toAccount, Summary: "Streams that the caller may know of", Query: []param{{"prefix", "of the name"}, {"limit", "at most 1000"}, {"next", "of the answer before"}}, Answer: "Streams", Handle: listStreams},
		{Method: "POST", Path: "/v1/streams", On: toSelf, Action: auth.CreateStream, Summary: "Create a stream, pulled from a camera or pushed to", Body: "NewStream", Answer: "Stream", Handle: createStream},
		{Method: "GET", Path: one, Action: auth.DescribeStream, On: toStream, Summary: "One stream", Answer: "Stream", Handle: showStream},
		{Method: "PATCH", Path: one, Action: auth.UpdateStream, On: toStream, Summary: "Change how long or how much is kept, the source or tags", Query: []param{{"preview", "true: change nothing, tell what video would be deleted (schema Preview)"}}, Body: "StreamPatch", Answer: "Stream", Handle: changeStream},
		{Method: "DELETE", Path: one, Action: auth.DeleteStream, On: toStream, Summary: "Delete a stream and its recording", Handle: deleteStream},
		{Method: "POST", Path: one + "/token", Action: auth.GetMedia, On: toStream, Summary: "Mint a short-lived media token", Body: "NewToken", Answer: "Token", Handle: mintToken},
		{Method: "DELETE", Path: one + "/token", Action: auth.GetMedia, On: toStream, Summary: "Take a media token back before it expires, and end what it started", Body: "OldToken", Handle: revokeToken},

		{Method: "GET", Path: one + "/timeline", Action: auth.ListFragments, On: toStream, Door: mediaDoor, Span: timelineSpan, Summary: "What is recorded, what is missing and why", Query: window(clockParam, param{"resolution", "spans closer than this are joined: 10s"}, param{"events", "false: leave them out"}, tokenParam), Answer: "Timeline", Handle: showTimeline},
		{Method: "GET", Path: one + "/events", Action: auth.ListEvents, On: toStream, Summary: "What happened: the events that overlap the window", Query: []param{{"start", "RFC 3339, or a duration before now such as -10m; no bound when absent"}, {"end", "as start"}, {"kind", "this alone"}, {"order", "asc: the oldest first, as when absent; desc: the newest"}, {"limit", "at most 1000"}, {"next", "of the answer before, in the same order"}}, Answer: "Events", Handle: listEvents},
		{Method: "POST", Path: one + "/events", Action: auth.PutEvent, On: toStream, Summary: "Say what happened, and have its video kept; with an id a second try adds nothing and answers 200", Body: "NewEvent", Answer: "Event", Handle: addEvent},
		{Method: "GET", Path: one + "/events/{id}", Action: auth.ListEvents, On: toStream, Summary: "One event", Answer: "Event", Handle: showEvent},
		{Method: "PATCH", Path: one + "/events/{id}", Action: auth.PutEvent, On: toStream, Summary: "Change or end an event: one's own, or with penstock:ChangeEvent everybody's", Body: "EventPatch", Answer: "Event", Handle: changeEvent},
		{Method: "DELETE", Path: one + "/events/{id}", Action: auth.PutEvent, On: toStream, Summary: "Delete an event; video that it alone kept goes", Handle: deleteEvent},
		{Method: "GET", Path: one + "/fragments", Action: auth.ListFragments, On: toStream, Door: mediaDoor, Span: listSpan, Summary: "Heads of fragments", Query: window(clockParam, param{"limit", "at most 10000; 1000 when absent"}, param{"next", "of the answer before"}, tokenParam), Answer: "Fragments", Handle: listFragments},
		{Method: "GET", Path: one + "/fragments/{file}", Action: auth.GetFragmentMedia, On: toStream, Door: mediaDoor, Span: fragmentSpan, Summary: "One fragment: {number}.mp4, .m4s, .mkv, .ts, or init-{number}.mp4", Query: tokened(), Answer: "video/mp4", Handle: showFragment},
		{Method: "GET", Path: one + "/live.m3u8", Action: auth.GetHLS, On: toStream, Door: mediaDoor, Span: liveSpan, Summary: "Live playlist (LL-HLS, RFC 8216bis)", Query: tokened(dvrParam, param{"_HLS_msn", "hold until this segment is there"}, param{"_HLS_part", "and this part of it"}, param{"_HLS_skip", "YES: a delta update"}), Answer: "application/vnd.apple.mpegurl", Handle: livePlaylist},
		{Method: "GET", Path: one + "/live/{file}", Action: auth.GetHLS, On: toStream, Door: mediaDoor, Summary: "A part, segment or initialization section that the live playlist names", Query: tokened(), Answer: "video/mp4", Handle: liveFile},
		{Method: "GET", Path: one + "/vod.m3u8", Action: auth.GetHLS, On: toStream, Door: mediaDoor, Span: vodSpan, Summary: "Playlist on demand", Query: window(clockParam, tokenParam), Answer: "application/vnd.apple.mpegurl", Handle: vodPlaylist},
		{Method: "GET", Path: one + "/master.m3u8", Action: auth.GetHLS, On: toStream, Door: mediaDoor, Span: keysSpan, Summary: "Master playlist (RFC 8216 §4.3.4): the stream and its key frames, for players that scrub; live unless a window is named", Query: window(dvrParam, tokenParam), Answer: "application/vnd.apple.mpegurl", Handle: masterPlaylist},
		{Method: "GET", Path: one + "/iframes.m3u8", Action: auth.GetHLS, On: toStream, Door: mediaDoor, Span: keysSpan, Summary: "Playlist of key frames alone (RFC 8216 §4.3.3.6); those of the live playlist unless a window is named", Query: window(param{"every", "of a window: at least so far apart, such as 10s; a thousand or fewer when absent, 10,000 at most"}, dvrParam, tokenParam), Answer: "application/vnd.apple.mpegurl", Handle: keyPlaylist},
		{Method: "GET", Path: one + "/keys/{file}", Action: auth.GetHLS, On: toStream, Door: mediaDoor, Span: keySpan, Summary: "A key frame alone, {number}-{ms}.m4s, or its initialization section, init-{number}.mp4, that a playlist of key frames names", Query: tokened(), Answer: "video/mp4", Handle: showKey},
		{Method: "GET", Path: one + "/clip.mp4", Action: auth.GetClip, On: toStream, Door: mediaDoor, Span: clipSpan, Summary: "One MP4 of the window; byte ranges are honoured", Query: window(clockParam, tokenParam), Answer: "video/mp4", Handle: showClip},
		{Method: "GET", Path: one + "/still.jpg", Action: auth.GetImages, On: toStream, Door: mediaDoor, Span: stillSpan, Summary: "The nearest frame at or before an instant", Query: tokened(param{"at", "RFC 3339 or -10m; newest when absent"}, param{"width", "pixels"}, param{"key", "1: the nearest key frame, which costs least"}, clockParam), Answer: "image/jpeg", Handle: showStill},
		{Method: "GET", Path: socketPath, Action: auth.GetMedia, On: toStream, Door: mediaDoor, Summary: "Live fragmented MP4 over a WebSocket; one socket carries many streams", Query: tokened(), Answer: "video/mp4", Handle: liveSocket},
		{Method: "GET", Path: one + "/talk", Action: auth.Talk, On: toStream, Summary: "What the loudspeaker of the stream's camera takes, and who talks to it; a WebSocket carries a voice there", Answer: "Talk", Handle: talkToCamera},
		{Method: "POST", Path: one + "/key-interval", Action: auth.SetCamera, On: toStream, Summary: "Set how often the stream's camera makes a key frame, through ONVIF", Body: "SetKeys", Answer: "KeyInterval", Handle: setKeys},

		{Method: "GET", Path: "/v1/data", Action: auth.DataListStreams, On: toAccount, Summary: "Data streams that the caller may know of", Answer: "DataStreams", Handle: listData},
		{Method: "POST", Path: "/v1/data", On: toSelf, Action: auth.DataCreateStream, Summary: "Create a data stream", Body: "NewDataStream", Answer: "DataStream", Handle: createData},
		{Method: "GET", Path: oneData, Action: auth.DataDescribeStream, On: toData, Summary: "One data stream with its shards, their traffic and its consumers", Answer: "DataStream", Handle: showData},
		{Method: "PATCH", Path: oneData, Action: auth.DataUpdateShardCount, On: toData, Summary: "Change the number of shards or the retention", Body: "DataStreamPatch", Answer: "DataStream", Handle: changeData},
		{Method: "DELETE", Path: oneData, Action: auth.DataDeleteStream, On: toData, Summary: "Delete a data stream and its records", Handle: deleteData},
		{Method: "POST", Path: oneData, Action: auth.DataPutRecords, On: toData, Makes: true, Large: true, Summary: "Put records: a JSON object or an array of them, lines of JSON, CSV, CBOR or bytes, by Content-Type; answered when they are durable", Query: []param{{"key", "partition key of all records, or a JSON pointer to it in each: /sensor/id; random when absent"}}, Body: "*/*", Answer: "Stored", Handle: putData},
		{Method: "GET", Path: oneData + "/tail", Action: auth.DataGetRecords, On: toData, Summary: "Follow a data stream, as lines of JSON or, with Accept: text/event-stream, as server-sent events; aggregates are taken apart", Query: []param{{"from", "latest, horizon, RFC 3339, -10m, or with shard a sequence number"}, {"shard", "this one alone"}, {"filter", "key:truck-*, /json/pointer=value, or a text; several must all fit"}, {"follow", "no: end when caught up"}, {"limit", "end after so many"}, {"as", "base64: data are never shown as JSON or text"}}, Answer: "application/x-ndjson", Handle: tailData},
		{Method: "POST", Path: oneData + "/split", Action: auth.DataSplitShard, On: toData, Summary: "Split a shard in two", Body: "Split", Answer: "DataStream", Handle: splitShard},
		{Method: "POST", Path: oneData + "/merge", Action: auth.DataMergeShards, On: toData, Summary: "Merge two neighbouring shards", Body: "Merge", Answer: "DataStream", Handle: mergeShards},
	}
}
