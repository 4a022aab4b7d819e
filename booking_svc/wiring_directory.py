"""Puts DirectoryService together, beside BookingService in the same process."""

from __future__ import annotations

from datetime import UTC, datetime

from medforall.directory.v1 import directory_pb2, directory_pb2_grpc

from booking_svc.rpc.directory import DirectoryServicer
from booking_svc.store.new_clinics import StoredClinics
from booking_svc.store.pool import Pool
from booking_svc.usecases.claim_rewriting import ClaimRewriting
from booking_svc.usecases.clinics import Clinics
from booking_svc.usecases.directory_recording import DirectoryRecorder
from booking_svc.usecases.displacement import VisitsConcerned
from booking_svc.usecases.edit_directory import EditDirectory
from booking_svc.usecases.mutation import Mutations
from booking_svc.usecases.oversight import Oversight
from booking_svc.usecases.patients import Patients
from booking_svc.usecases.read_directory import ReadDirectory
from booking_svc.usecases.recording import Recorder
from booking_svc.usecases.transactions import Transactions
from chassis.grpc.server import GrpcService
from database.clinic_keys import ClinicCiphers
from database.transaction import Database
from scheduling.ids import NewId


def build_directory(
    *,
    pool: Pool,
    workers: Database,
    ciphers: ClinicCiphers,
    transactions: Transactions,
    mutations: Mutations,
    appointments: Recorder,
    new_id: NewId,
) -> GrpcService:
    """DirectoryService, ready to be served; nothing is connected yet."""
    recorder = DirectoryRecorder(new_id, lambda: datetime.now(UTC) + transactions.clock_offset)
    rewriting = ClaimRewriting(appointments)
    servicer = DirectoryServicer(
        transactions=transactions,
        mutations=mutations,
        editing=EditDirectory(VisitsConcerned(rewriting), recorder, new_id),
        reading=ReadDirectory(transactions),
        patients=Patients(rewriting, recorder, new_id),
        clinics=Clinics(recorder, new_id),
        oversight=Oversight(recorder, new_id),
        new_clinics=StoredClinics(pool, workers, ciphers),
    )
    return GrpcService(
        directory_pb2.DESCRIPTOR.services_by_name["DirectoryService"],
        directory_pb2_grpc.add_DirectoryServiceServicer_to_server,
        servicer,
    )
