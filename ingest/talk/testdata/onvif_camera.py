"""A camera with a loudspeaker: GStreamer's ONVIF server, by its C interface.

usage: onvif_camera.py PORT mulaw|alaw FILE
FILE gets what the loudspeaker is sent.
"""
import ctypes
import sys

port, law, name = sys.argv[1:4]
payload, codec, depay = {"mulaw": (0, "PCMU", "rtppcmudepay"), "alaw": (8, "PCMA", "rtppcmadepay")}[law]

gst = ctypes.CDLL("libgstreamer-1.0.so.0")
glib = ctypes.CDLL("libglib-2.0.so.0")
rtsp = ctypes.CDLL("libgstrtspserver-1.0.so.0")


def call(library, function, result, *args):
    f = getattr(library, function)
    f.restype = result
    f.argtypes = [type(a) if isinstance(a, ctypes._SimpleCData) else ctypes.c_char_p for a in args]
    return f(*args)


P = ctypes.c_void_p
call(gst, "gst_init", None, P(None), P(None))
server = P(call(rtsp, "gst_rtsp_onvif_server_new", P))
call(rtsp, "gst_rtsp_server_set_address", None, server, b"127.0.0.1")
call(rtsp, "gst_rtsp_server_set_service", None, server, port.encode())
factory = P(call(rtsp, "gst_rtsp_onvif_media_factory_new", P))
call(rtsp, "gst_rtsp_media_factory_set_launch", None, factory,
     b"( videotestsrc is-live=true ! video/x-raw,width=320,height=240,framerate=10/1 ! x264enc tune=zerolatency key-int-max=10"
     b" ! rtph264pay name=pay0 pt=96 )")
call(rtsp, "gst_rtsp_onvif_media_factory_set_backchannel_launch", None, factory,
     f"( capsfilter caps=\"application/x-rtp,media=audio,payload={payload},clock-rate=8000,encoding-name={codec}\""
     f" name=depay_backchannel ! {depay} ! filesink location={name} async=false sync=false buffer-mode=2 )".encode())
call(rtsp, "gst_rtsp_media_factory_set_media_gtype", None, factory, ctypes.c_size_t(call(rtsp, "gst_rtsp_onvif_media_get_type", ctypes.c_size_t)))
mounts = P(call(rtsp, "gst_rtsp_server_get_mount_points", P, server))
call(rtsp, "gst_rtsp_mount_points_add_factory", None, mounts, b"/cam", factory)
if call(rtsp, "gst_rtsp_server_attach", ctypes.c_uint, server, P(None)) == 0:
    sys.exit("cannot listen")
print("rtsp://127.0.0.1:%d/cam" % call(rtsp, "gst_rtsp_server_get_bound_port", ctypes.c_int, server), flush=True)
call(glib, "g_main_loop_run", None, P(call(glib, "g_main_loop_new", P, P(None), ctypes.c_int(0))))
